{{/* The configuration file, and what it refers to: variables and files from Secrets. */}}

{{/* One value in TOML. Numbers come as floats from a file and as integers from --set. */}}
{{- define "tidings.toml.value" -}}
{{- if kindIs "string" . -}}{{ toRawJson . }}
{{- else if kindIs "bool" . -}}{{ . }}
{{- else if kindIs "slice" . -}}[{{ range $at, $value := . }}{{ if $at }}, {{ end }}{{ include "tidings.toml.value" $value }}{{ end }}]
{{- else -}}{{ int64 . }}
{{- end -}}
{{- end }}

{{/* A section: (dict "name" "gateway" "keys" {...}). Lists of tables go behind its keys. */}}
{{- define "tidings.toml.section" -}}
{{- if .keys }}
[{{ .name }}]
{{- range $key, $value := .keys }}
{{- if ne $key "issuers" }}
{{ $key }} = {{ include "tidings.toml.value" $value }}
{{- end }}
{{- end }}
{{- range $issuer := .keys.issuers }}

[[{{ $.name }}.issuers]]
{{- range $key, $value := $issuer }}
{{ $key }} = {{ include "tidings.toml.value" $value }}
{{- end }}
{{- end }}
{{ end -}}
{{- end }}

{{/* [gateway] or [ingest]: (dict "root" $ "component" "gateway"). */}}
{{- define "tidings.config.service" -}}
{{- $values := index .root.Values .component -}}
{{- $keys := dict
      "listen" (printf "%s:%s" .root.Values.listenHost (include "tidings.port" .))
      "admin_listen" (printf "%s:%s" .root.Values.listenHost (include "tidings.adminPort" .)) -}}
{{- if $values.tls.enabled -}}
{{- $_ := set $keys "tls_cert_file" "/etc/tidings/tls/tls.crt" -}}
{{- $_ := set $keys "tls_key_file" "/etc/tidings/tls/tls.key" -}}
{{- if $values.tls.ticketSecret.name -}}{{- $_ := set $keys "tls_ticket_secret_file" "/etc/tidings/ticket/secret" -}}{{- end -}}
{{- if dig "clientCA" "name" "" $values.tls -}}{{- $_ := set $keys "tls_client_ca_file" "/etc/tidings/client-ca/ca.crt" -}}{{- end -}}
{{- end -}}
{{- include "tidings.toml.section" (dict "name" .component "keys" (merge $keys $values.config)) -}}
{{- end }}

{{/* The sections that both services go by. */}}
{{- define "tidings.config.shared" -}}
{{- $sections := deepCopy .Values.config -}}
{{- if .Values.auth.keyFile.name -}}{{- $_ := set $sections.auth "key_file" "/etc/tidings/key-file/keys" -}}{{- end -}}
{{- if .Values.auth.declared.name -}}{{- $_ := set $sections.auth "declared_file" "/etc/tidings/declared/declared.toml" -}}{{- end -}}
{{- with .Values.redis.external -}}
{{- if and .enabled .tls.enabled -}}
{{- if .tls.caSecret.name -}}{{- $_ := set $sections.redis "tls_ca_file" "/etc/tidings/redis-ca/ca.crt" -}}{{- end -}}
{{- if .tls.certSecret -}}
{{- $_ := set $sections.redis "tls_cert_file" "/etc/tidings/redis-tls/tls.crt" -}}
{{- $_ := set $sections.redis "tls_key_file" "/etc/tidings/redis-tls/tls.key" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $keys := $sections -}}
{{- include "tidings.toml.section" (dict "name" $name "keys" $keys) -}}
{{- end -}}
{{- end }}

{{/* The whole file. Both services check all of it, and each goes by its own section and the shared ones. */}}
{{- define "tidings.config" -}}
{{ include "tidings.config.service" (dict "root" . "component" "gateway") }}
{{- include "tidings.config.service" (dict "root" . "component" "ingest") }}
{{- include "tidings.config.shared" . }}
{{- end }}

{{/* What a service's pods must be made anew for: its own section and the shared ones, not the other service's. */}}
{{- define "tidings.config.checksum" -}}
{{ printf "%s%s" (include "tidings.config.service" .) (include "tidings.config.shared" .root) | sha256sum }}
{{- end }}

{{/* One variable from a Secret: (dict "name" "TIDINGS_..." "secret" {name, key}); an empty name of the Secret: none. */}}
{{- define "tidings.env.secret" -}}
{{- if .secret.name }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret.name }}
      key: {{ .secret.key }}
{{- end }}
{{- end }}

{{/* The URL of Redis. The kubelet puts the password into it, so that it stands in no manifest. */}}
{{- define "tidings.env.url" -}}
{{- include "tidings.env.secret" (dict "name" "REDIS_PASSWORD" "secret" .password) }}
{{- $account := .password.name | empty | not | ternary (printf "%s:$(REDIS_PASSWORD)@" .username) (.username | empty | ternary "" (printf "%s@" .username)) }}
- name: TIDINGS_REDIS__URL
  value: {{ printf "%s://%s%s%s" .scheme $account (join "," .hosts) .path | quote }}
{{- end }}

{{- define "tidings.env" -}}
- name: TIDINGS_CONFIG
  value: /etc/tidings/config/tidings.toml
{{- include "tidings.env.secret" (dict "name" "TIDINGS_AUTH__SECRET" "secret" .Values.auth.secret) }}
{{- include "tidings.env.secret" (dict "name" "TIDINGS_AUTH__WEBHOOK_SECRET" "secret" .Values.auth.webhookSecret) }}
{{- if .Values.redis.inChart.enabled }}
{{- $hosts := list (printf "%s-redis:6379" (include "tidings.fullname" .)) }}
{{- include "tidings.env.url" (dict "scheme" "redis" "username" "" "password" .Values.redis.inChart.passwordSecret "hosts" $hosts "path" "") }}
{{- else }}
{{- with .Values.redis.external }}
{{- include "tidings.env.secret" (dict "name" "TIDINGS_REDIS__URL" "secret" .urlSecret) }}
{{- if not .urlSecret.name }}
{{- $scheme := printf "%s%s" (.tls.enabled | ternary "rediss" "redis") (eq .mode "single" | ternary "" (printf "+%s" .mode)) }}
{{- $path := eq .mode "sentinel" | ternary (printf "/%s/%d" .masterName (int .database)) (printf "/%d" (int .database)) }}
{{- include "tidings.env.url" (dict "scheme" $scheme "username" .username "password" .passwordSecret "hosts" .hosts "path" $path) }}
{{- end }}
{{- with .sentinel.username }}
- name: TIDINGS_REDIS__SENTINEL_USERNAME
  value: {{ . | quote }}
{{- end }}
{{- include "tidings.env.secret" (dict "name" "TIDINGS_REDIS__SENTINEL_PASSWORD" "secret" .sentinel.passwordSecret) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Files from Secrets, as a YAML list; without `key` the whole Secret: (dict "root" $ "component" "gateway"). */}}
{{- define "tidings.files" -}}
{{- $values := index .root.Values .component }}
{{- if $values.tls.enabled }}
- { folder: tls, secret: {{ include "tidings.certificateSecret" . }} }
{{- with $values.tls.ticketSecret }}{{ if .name }}
- { folder: ticket, secret: {{ .name }}, key: {{ .key }}, file: secret }
{{- end }}{{ end }}
{{- with $values.tls.clientCA }}{{ if .name }}
- { folder: client-ca, secret: {{ .name }}, key: {{ .key }}, file: ca.crt }
{{- end }}{{ end }}
{{- end }}
{{- include "tidings.files.shared" .root }}
{{- end }}

{{- define "tidings.files.shared" -}}
{{- with .Values.auth.keyFile }}{{ if .name }}
- { folder: key-file, secret: {{ .name }}, key: {{ .key }}, file: keys }
{{- end }}{{ end }}
{{- with .Values.auth.declared }}{{ if .name }}
- { folder: declared, secret: {{ .name }}, key: {{ .key }}, file: declared.toml }
{{- end }}{{ end }}
{{- with .Values.redis.external }}{{ if and .enabled .tls.enabled }}
{{- with .tls.caSecret }}{{ if .name }}
- { folder: redis-ca, secret: {{ .name }}, key: {{ .key }}, file: ca.crt }
{{- end }}{{ end }}
{{- with .tls.certSecret }}
- { folder: redis-tls, secret: {{ . }} }
{{- end }}
{{- end }}{{ end }}
{{- end }}

{{/* Volumes and mounts of the configuration and of a list of files: (dict "root" $ "files" [...]). Whole folders, not single
files: only those follow a Secret that changes. */}}
{{- define "tidings.volumes" -}}
- name: config
  configMap:
    name: {{ include "tidings.fullname" .root }}
{{- range .files }}
- name: {{ .folder }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    {{- if .key }}
    items:
      - key: {{ .key }}
        path: {{ .file }}
    {{- end }}
{{- end }}
{{- end }}

{{- define "tidings.mounts" -}}
- name: config
  mountPath: /etc/tidings/config
  readOnly: true
{{- range .files }}
- name: {{ .folder }}
  mountPath: /etc/tidings/{{ .folder }}
  readOnly: true
{{- end }}
{{- end }}
