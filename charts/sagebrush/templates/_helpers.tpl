{{- define "sagebrush.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 55 | trimSuffix "-" -}}
{{- end -}}

{{- define "sagebrush.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "sagebrush.labels" -}}
{{ include "sagebrush.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "sagebrush.serviceAccountName" -}}
{{- default (ternary (include "sagebrush.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{/* An image's reference; takes a list: its values, and the tag where they name none. */}}
{{- define "sagebrush.image" -}}
{{- $image := first . -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default (last .) $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What a binding of either kind binds to: the operator's service account. */}}
{{- define "sagebrush.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "sagebrush.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}

{{/*
Who the operator is in AWS: "irsa", "podIdentity", "secret" or nothing. Fails on a choice that AWS' libraries would make
differently than it reads: keys win over IRSA, and IRSA wins over Pod Identity.
*/}}
{{- define "sagebrush.awsIdentity" -}}
{{- $chosen := .Values.aws.credentials -}}
{{- $names := list -}}
{{- if $chosen.roleArn }}{{ $names = append $names "irsa" }}{{ end -}}
{{- if $chosen.podIdentity }}{{ $names = append $names "podIdentity" }}{{ end -}}
{{- if $chosen.secretName }}{{ $names = append $names "secret" }}{{ end -}}
{{- if gt (len $names) 1 -}}
{{- fail "aws.credentials: give at most one of roleArn, podIdentity and secretName" -}}
{{- end -}}
{{- if and $chosen.roleArn (not .Values.serviceAccount.create) -}}
{{- fail "aws.credentials.roleArn: the service account isn't this release's (serviceAccount.create=false); annotate it yourself with eks.amazonaws.com/role-arn, and leave roleArn empty" -}}
{{- end -}}
{{- if and $chosen.roleArn (hasKey .Values.serviceAccount.annotations "eks.amazonaws.com/role-arn") -}}
{{- fail "aws.credentials.roleArn: serviceAccount.annotations has an eks.amazonaws.com/role-arn already; give one of the two" -}}
{{- end -}}
{{- if and $chosen.podIdentity (hasKey .Values.serviceAccount.annotations "eks.amazonaws.com/role-arn") -}}
{{- fail "aws.credentials.podIdentity: serviceAccount.annotations has an eks.amazonaws.com/role-arn, which would win; remove it" -}}
{{- end -}}
{{- join "" $names -}}
{{- end -}}

{{/* Annotations of the service account: the user's, and those of IRSA. */}}
{{- define "sagebrush.serviceAccountAnnotations" -}}
{{- $ours := dict -}}
{{- if eq (include "sagebrush.awsIdentity" .) "irsa" -}}
{{- $_ := set $ours "eks.amazonaws.com/role-arn" .Values.aws.credentials.roleArn -}}
{{- $_ := set $ours "eks.amazonaws.com/sts-regional-endpoints" "true" -}}
{{- end -}}
{{- with merge (dict) .Values.serviceAccount.annotations $ours -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* Roles by namespace, as the operator reads them: "team-a=arn:…,team-b=arn:…". */}}
{{- define "sagebrush.namespaceRoles" -}}
{{- $pairs := list -}}
{{- range $namespace, $role := .Values.aws.namespaceRoles }}{{ $pairs = append $pairs (printf "%s=%s" $namespace $role) }}{{ end -}}
{{- join "," $pairs -}}
{{- end -}}
