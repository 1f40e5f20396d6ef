{{/* What the server's and the gateway's pods have in common. */}}
{{- define "penstock.podDefaults" -}}
enableServiceLinks: false  # a Service called penstock would inject PENSTOCK_PORT=tcp://..., which reads as a setting
automountServiceAccountToken: false
serviceAccountName: {{ include "penstock.serviceAccountName" . }}
terminationGracePeriodSeconds: {{ include "penstock.graceSeconds" . }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "penstock.imageAndSecurity" -}}
image: {{ include "penstock.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end -}}

{{/* Environment from a map, so that no name occurs twice. */}}
{{- define "penstock.env" -}}
{{- with . -}}
env:
  {{- range $name, $value := . }}
  - name: {{ $name }}
    {{- if kindIs "map" $value }}
    {{- toYaml $value | nindent 4 }}
    {{- else }}
    value: {{ $value | quote }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The server's environment; extraEnv wins. */}}
{{- define "penstock.serverEnv" -}}
{{- $cache := ternary (dict "HF_HOME" .Values.modelCache.mountPath) dict (ne .Values.modelCache.existingClaim "") -}}
{{- merge (dict) .Values.extraEnv $cache | toYaml -}}
{{- end -}}

{{- define "penstock.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if gt (int .Values.gpu.count) 0 -}}
{{- $limits := merge (dict .Values.gpu.resource (int .Values.gpu.count)) ($resources.limits | default dict) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- with $resources -}}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "penstock.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ .Values.tmp.sizeLimit }}}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.shm.sizeLimit }}}
{{- with .Values.modelCache }}
{{- if .existingClaim }}
- name: model-cache
  persistentVolumeClaim: {claimName: {{ .existingClaim }}, readOnly: {{ .readOnly }}}
{{- end }}
{{- end }}
{{- include "penstock.connectionVolumes" . }}
{{- range $name, $source := .Values.extraVolumes }}
- name: {{ $name }}
  {{- toYaml $source | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "penstock.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: shm, mountPath: /dev/shm}
{{- with .Values.modelCache }}
{{- if .existingClaim }}
- {name: model-cache, mountPath: {{ .mountPath | quote }}, readOnly: {{ .readOnly }}}
{{- end }}
{{- end }}
{{- include "penstock.connectionMounts" . }}
{{- range $path, $mount := .Values.extraVolumeMounts }}
- mountPath: {{ $path | quote }}
  {{- toYaml $mount | nindent 2 }}
{{- end }}
{{- end -}}

{{/* topologySpreadConstraints, each with this release's selector unless it brings one. */}}
{{- define "penstock.topologySpread" -}}
{{- $selector := include "penstock.selectorLabels" (dict "root" . "component" "server") | fromYaml -}}
{{- with .Values.topologySpreadConstraints -}}
topologySpreadConstraints:
  {{- range . }}
  - {{- toYaml . | nindent 4 }}
    {{- if not (hasKey . "labelSelector") }}
    labelSelector:
      matchLabels:
        {{- toYaml $selector | nindent 8 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}
