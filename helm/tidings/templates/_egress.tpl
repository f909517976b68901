{{/* Where pods may connect to: names, Redis, what [auth] asks, and the collector of traces. */}}
{{- define "tidings.egress" -}}
- ports:
    - { port: 53, protocol: UDP }
    - { port: 53, protocol: TCP }
  to: {{- toYaml .Values.networkPolicy.dnsTo | nindent 4 }}
{{- if .Values.redis.inChart.enabled }}
- ports:
    - port: 6379
  to:
    - podSelector:
        matchLabels: {{- include "tidings.selector" (dict "root" . "component" "redis") | nindent 10 }}
{{- else }}
- ports:
    {{- range include "tidings.redis.ports" . | fromYamlArray }}
    - port: {{ int . }}
    {{- end }}
  {{- with .Values.networkPolicy.redisTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if include "tidings.auth.asks" . }}
- ports:
    {{- range .Values.networkPolicy.https.ports }}
    - port: {{ . }}
    {{- end }}
  to:
    {{- range .Values.networkPolicy.https.cidrs }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
{{- end }}
{{- with dig "otlp_url" "" .Values.config.telemetry }}
{{- $url := urlParse . }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (eq $url.scheme "https" | ternary "443" "80") }}
- ports:
    - port: {{ $port }}
  {{- with $.Values.networkPolicy.otlpTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Each port of Redis and of the sentinels once, as a YAML list. */}}
{{- define "tidings.redis.ports" -}}
{{- $ports := list -}}
{{- with .Values.redis.external -}}
{{- range .hosts -}}{{- $ports = append $ports (splitList ":" . | last | int) -}}{{- end -}}
{{- if or (ne .mode "single") .urlSecret.name -}}
{{- range .nodePorts -}}{{- $ports = append $ports (int .) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toYaml -}}
{{- end }}

{{/* Whether [auth] names services to be asked; else empty. */}}
{{- define "tidings.auth.asks" -}}
{{- $auth := .Values.config.auth -}}
{{- $asked := list (dig "jwks_url" "" $auth) (dig "webhook_url" "" $auth) -}}
{{- range $issuer := dig "issuers" list $auth -}}{{- $asked = append $asked (dig "jwks_url" "" $issuer) -}}{{- end -}}
{{- join "" $asked -}}
{{- end }}
