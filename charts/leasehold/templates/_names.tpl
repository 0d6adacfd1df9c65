{{/* Names, labels and what several objects ask for. */}}

{{- define "leasehold.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "leasehold.fullname" -}}
{{- $name := include "leasehold.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "leasehold.selectorLabels" -}}
app.kubernetes.io/name: {{ include "leasehold.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "leasehold.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "leasehold.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "leasehold.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "leasehold.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "leasehold.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* The namespace of lease records and keys. */}}
{{- define "leasehold.ownNamespace" -}}
{{- .Values.operatorNamespace | default .Release.Namespace }}
{{- end }}

{{/* Rights in one namespace cannot see objects outside of namespaces. */}}
{{- define "leasehold.processClusterStore" -}}
{{- and .Values.processClusterStore (ne .Values.rbac.scope "namespaced") }}
{{- end }}

{{/* The port of a listen address such as :8080 or [::]:8080; empty where it does not listen. */}}
{{- define "leasehold.port" -}}
{{- $address := toString . }}
{{- if not (has $address (list "" "0")) }}
{{- splitList ":" $address | last }}
{{- end }}
{{- end }}
