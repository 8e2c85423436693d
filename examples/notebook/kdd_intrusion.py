# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Telling attacks from normal connections with linear-learner
#
# The notebook of an article of 2019, which trained SageMaker's linear-learner on KDD'99 intrusion data, ported line by line: the same steps, the same shapes. Beside
# each cell stands what the article had. What takes the place of the SageMaker SDK is in `estimator.py`, beside this file.
#
# - in a cluster: `python -m examples.notebook.kdd_intrusion --bucket sagebrush-demo`
# - on this machine alone, without a cluster: `python -m examples.notebook.kdd_intrusion --local`

# %%
import argparse
import io

import numpy as np
import pandas as pd

from examples.notebook.estimator import (
    Estimator,
    csv_serializer,
    json_deserializer,
    open_session,
    write_dense_records,
)
from sagebrush_server.datasets.kdd_fields import FIELDS, SYMBOLIC
from sagebrush_server.datasets.kdd_source import read_records

parser = argparse.ArgumentParser(description="The article's notebook: train, deploy and ask linear-learner on KDD'99 data.")
parser.add_argument("--local", metavar="FOLDER", nargs="?", const="build/notebook", help="run train and serve on this machine")
parser.add_argument("--bucket", default="sagebrush-demo", help="bucket for data and model, with a cluster")
parser.add_argument("--namespace", default="sagebrush-demo", help="namespace of the objects, with a cluster")
parser.add_argument("--source", default="auto", help="auto, generated, download (fetch_kddcup99), or a file or folder")
parser.add_argument("--rows", type=int, default=None, help="rows to generate")
options, _ = parser.parse_known_args()

# %% [markdown]
# ## Session, bucket, role
# ```python
# sess = sagemaker.Session()
# role = get_execution_role()
# bucket = sess.default_bucket()
# prefix = 'kdd-intrusion'
# ```
# A role isn't needed: pods read the bucket with the credentials of the namespace's Secret.

# %%
sess = open_session(local=options.local, bucket=options.bucket, namespace=options.namespace)
bucket = sess.bucket
prefix = "kdd-intrusion"

# %% [markdown]
# ## The data
# ```python
# from sklearn.datasets import fetch_kddcup99
# data = fetch_kddcup99(percent10=True)
# df = pd.DataFrame(data.data, columns=columns); df['label'] = data.target
# ```
# `--source download` is that very call; `auto` takes real files where they lie in the working folder, and else generates connections of the same form.

# %%
data = read_records(options.source, rows=options.rows, seed=0)
df = pd.DataFrame(data.rows, columns=[*FIELDS, "label"])
print(f"{len(df)} connections ({data.origin}), {df['label'].nunique()} kinds, such as {', '.join(df['label'].unique()[:4])}")

# %% [markdown]
# ## Encode
# ```python
# for column in ['protocol_type', 'service', 'flag']:
#     df[column] = LabelEncoder().fit_transform(df[column])
# df['label'] = (df['label'] != b'normal.').astype(int)
# ```

# %%
for column in SYMBOLIC:
    df[column] = df[column].astype("category").cat.codes
df["label"] = (df["label"] != "normal").astype(int)
df = df.astype("float32")

# %% [markdown]
# ## Split
# ```python
# train_set, valid_set, test_set = split(df)   # each (features, labels)
# ```

# %%
order = np.random.default_rng(0).permutation(len(df))
parts = np.split(order, [int(0.7 * len(df)), int(0.85 * len(df))])
features, labels = df[list(FIELDS)].to_numpy(), df["label"].to_numpy()
train_set, valid_set, test_set = ((features[part], labels[part]) for part in parts)
print(f"train {train_set[0].shape}, validation {valid_set[0].shape}, test {test_set[0].shape}")

# %% [markdown]
# ## To the bucket, as RecordIO-protobuf
# ```python
# buf = io.BytesIO()
# smac.write_numpy_to_dense_tensor(buf, vectors, labels)
# buf.seek(0)
# boto3.resource('s3').Bucket(bucket).Object(os.path.join(prefix, 'train', key)).upload_fileobj(buf)
# s3_train_data = 's3://{}/{}/train/{}'.format(bucket, prefix, key)
# ```

# %%
buf = io.BytesIO()
write_dense_records(buf, vectors=train_set[0], labels=train_set[1])
buf.seek(0)
s3_train_data = sess.upload(buf, key=f"{prefix}/train/recordio-pb-data")
buf = io.BytesIO()
write_dense_records(buf, vectors=valid_set[0], labels=valid_set[1])
buf.seek(0)
s3_validation_data = sess.upload(buf, key=f"{prefix}/validation/recordio-pb-data")
output_location = f"{bucket}/{prefix}/output"
print(f"training data in {s3_train_data}, the model goes to {output_location}")

# %% [markdown]
# ## Train
# ```python
# container = get_image_uri(boto3.Session().region_name, 'linear-learner')
# linear = sagemaker.estimator.Estimator(container, role, train_instance_count=1, train_instance_type='ml.c4.xlarge',
#                                        output_path=output_location, sagemaker_session=sess)
# linear.set_hyperparameters(feature_dim=41, predictor_type='binary_classifier', mini_batch_size=200)
# linear.fit({'train': s3_train_data})
# ```
# With a cluster `fit` makes a TrainingJob and waits for it; its metrics are in `kubectl describe trainingjob`.

# %%
linear = Estimator("linear-learner", instance_count=1, output_path=output_location, session=sess)
linear.set_hyperparameters(feature_dim=41, predictor_type="binary_classifier", mini_batch_size=200)
linear.fit({"train": s3_train_data, "validation": s3_validation_data})

# %% [markdown]
# ## Deploy
# ```python
# linear_predictor = linear.deploy(initial_instance_count=1, instance_type='ml.m4.xlarge')
# linear_predictor.content_type = 'text/csv'
# linear_predictor.serializer = csv_serializer
# linear_predictor.deserializer = json_deserializer
# ```
# With a cluster `deploy` makes a ModelEndpoint and waits until it is Ready.

# %%
linear_predictor = linear.deploy(initial_instance_count=1)
linear_predictor.content_type = "text/csv"
linear_predictor.serializer = csv_serializer
linear_predictor.deserializer = json_deserializer

# %% [markdown]
# ## Ask
# ```python
# result = linear_predictor.predict(train_set[0][30:31])
# ```

# %%
result = linear_predictor.predict(train_set[0][30:31])
print(result)

# %%
predictions = []
for array in np.array_split(test_set[0], max(1, len(test_set[0]) // 500)):
    result = linear_predictor.predict(array)
    predictions += [r["predicted_label"] for r in result["predictions"]]
predictions = np.array(predictions)
print(pd.crosstab(test_set[1], predictions, rownames=["actuals"], colnames=["predictions"]))
accuracy = float((predictions == test_set[1]).mean())
print(f"test accuracy {accuracy:.4f}")

# %% [markdown]
# ## Clean up
# ```python
# sagemaker.Session().delete_endpoint(linear_predictor.endpoint)
# ```

# %%
sess.delete_endpoint(linear_predictor)
