{{/* What the operator does in every namespace it watches, whether a ClusterRole or Roles grant it. */}}
{{- define "sagebrush.rules" -}}
# What users want: list at start and at each resync, watch in between. Never got one by one. patch is for the finalizer of
# backend SageMaker alone, by server-side apply of metadata.finalizers: what was made in AWS is removed before the object
# goes. A spec is never written.
- apiGroups: [sagebrush.dev]
  resources: [trainingjobs, modelendpoints]
  verbs: [list, watch, patch]
# Reports: status is written by server-side apply, which is a patch.
- apiGroups: [sagebrush.dev]
  resources: [trainingjobs/status, modelendpoints/status]
  verbs: [patch]
# Where the OwnerReferencesPermissionEnforcement admission plugin is on, an ownerReference with blockOwnerDeletion takes
# update on the owner's finalizers.
- apiGroups: [sagebrush.dev]
  resources: [trainingjobs/finalizers, modelendpoints/finalizers]
  verbs: [update]
# A TrainingJob's Job. list and watch follow the operator's own; get asks for one of that name that isn't among them, so
# that nobody else's is taken over; create and patch are server-side apply, which takes both; delete removes a Job that
# a suspension or a drain ended as Complete, so that it can be made again.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# A ModelEndpoint's Deployment: as above; patch also sets its replicas. Never deleted: it goes with its owner.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
# An endpoint's Service, and the Service of a job with several instances: as above, never deleted.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
# The addresses of the hosts of a job with several instances: as above, never deleted.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, patch]
# Why a pod is not ready, and what it reported when it ended: list and watch. Pods are Jobs' and Deployments' to change.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# A training job's metrics are in its log: get.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# Others' autoscalers: two that set one number never come to rest, so that the operator looks who else does. list.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [list]
# Events on transitions: create. A repeated one is a new one, or none at all; none is ever changed.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* What the whole cluster takes beside: to hear of the operator's kinds when they come or change, and which cluster it is. */}}
{{- define "sagebrush.discoveryRules" -}}
# kopf lists and then watches these when it serves the whole cluster, and looks anew at which kinds there are when one
# changes. (Namespaces it doesn't list: one stream serves them all. With named namespaces it asks for neither.)
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [list, watch]
# Its uid is the cluster's id in the tags of what is made in AWS, where the values give none: get, of this one alone.
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: [kube-system]
  verbs: [get]
{{- end -}}
