"""A model made where no Kubernetes is: scikit-learn on a laptop, a file for the bucket, and the manifest that serves it.

    python examples/pretrained/train.py --out build/pretrained

Needs scikit-learn and skops (`pip install scikit-learn skops`). Writes `model.skops`, a row to ask for, and
`endpoint.yaml` with the file's checksum.
"""

import argparse
import hashlib
from pathlib import Path

import skops.io
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MANIFEST = Path(__file__).with_name("scikit-learn.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a scikit-learn model and write what an endpoint needs.")
    parser.add_argument("--out", type=Path, default=Path("build/pretrained"), help="folder to write to")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    data = load_breast_cancer()
    names = data.target_names[data.target]  # "malignant", "benign": the endpoint answers in these words
    train, test, train_names, test_names = train_test_split(data.data, names, random_state=0, stratify=names)
    model = make_pipeline(StandardScaler(), GradientBoostingClassifier(random_state=0)).fit(train, train_names)
    print(f"accuracy on rows it hasn't seen: {model.score(test, test_names):.3f}")

    skops.io.dump(model, out / "model.skops")
    (out / "row.csv").write_text(",".join(map(str, test[0].tolist())) + "\n")
    sha256 = hashlib.sha256((out / "model.skops").read_bytes()).hexdigest()
    (out / "endpoint.yaml").write_text(MANIFEST.read_text().replace("0" * 64, sha256))
    print(f"wrote {out}/model.skops (sha256 {sha256}), row.csv and endpoint.yaml")


if __name__ == "__main__":
    main()
