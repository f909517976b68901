{{/* Names, labels and image. */}}

{{- define "tidings.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* What pods are selected by: (dict "root" $ "component" "gateway"). */}}
{{- define "tidings.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "tidings.labels" -}}
{{ include "tidings.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "tidings.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "tidings.serviceAccount" -}}
{{- default (ternary (include "tidings.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end }}

{{/* The Secret with a service's certificate; empty: none. (dict "root" $ "component" "gateway") */}}
{{- define "tidings.certificateSecret" -}}
{{- $tls := (index .root.Values .component).tls -}}
{{- if $tls.certManager.enabled -}}
{{ include "tidings.fullname" .root }}-{{ .component }}-tls
{{- else -}}
{{ $tls.secretName }}
{{- end -}}
{{- end }}

{{/* Serving and admin ports of the pods, as docs/configuration.md has them. */}}
{{- define "tidings.port" -}}{{ eq .component "gateway" | ternary 8000 8010 }}{{- end }}
{{- define "tidings.adminPort" -}}{{ eq .component "gateway" | ternary 9464 9465 }}{{- end }}
