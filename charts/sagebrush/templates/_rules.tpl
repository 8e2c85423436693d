{{/* What the operator does in every namespace it watches, whether a ClusterRole or Roles grant it. */}}
{{- define "sagebrush.rules" -}}
# Reads what users want: get before a decision, list and watch to hear of changes. Never writes a spec.
- apiGroups: [sagebrush.dev]
  resources: [trainingjobs, modelendpoints]
  verbs: [get, list, watch]
# Reports: status is written by server-side apply, which is a patch.
- apiGroups: [sagebrush.dev]
  resources: [trainingjobs/status, modelendpoints/status]
  verbs: [patch]
# Writes no finalizer: where the OwnerReferencesPermissionEnforcement admission plugin is on, an ownerReference with
# blockOwnerDeletion takes update on the owner's finalizers.
- apiGroups: [sagebrush.dev]
  resources: [trainingjobs/finalizers, modelendpoints/finalizers]
  verbs: [update]
# A TrainingJob's Job: get, list and watch to observe; create and patch are server-side apply; delete on stop and retry.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# A ModelEndpoint's Deployment: the same verbs; patch also sets its replicas, delete removes an old revision.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# An endpoint's Service and the hosts' Service of a distributed job: the same verbs; delete when no longer wanted.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# Which replicas an endpoint's Service sends to: the same verbs; delete when no longer wanted.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, patch, delete]
# Why a pod is not ready, and what it reported when it ended: get, list and watch. Pods are Jobs' and Deployments' to change.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# The last line of a crashing container and a training job's metrics: get.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# Events on transitions: create, and patch for the count of a repeated one.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* What the whole cluster takes beside: which kinds and namespaces there are (list), and when that changes (watch). */}}
{{- define "sagebrush.discoveryRules" -}}
# kopf watches these when it serves the whole cluster: list and watch tell it which kinds and namespaces there are.
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end -}}
