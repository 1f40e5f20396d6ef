{{/* Combinations that the schema cannot see. Each sentence says what is wrong and which value to change. */}}
{{- define "penstock.validate" -}}
{{- include "penstock.validate.grace" . -}}
{{- include "penstock.validate.engine" . -}}
{{- include "penstock.validate.ports" . -}}
{{- include "penstock.validate.tls" . -}}
{{- include "penstock.validate.labels" . -}}
{{- include "penstock.validate.env" . -}}
{{- include "penstock.validate.volumes" . -}}
{{- end -}}

{{- define "penstock.validate.grace" -}}
{{- $needed := include "penstock.neededGraceSeconds" . | int -}}
{{- $grace := include "penstock.graceSeconds" . | int -}}
{{- if lt $grace $needed -}}
{{- fail (printf "lifecycle.terminationGracePeriodSeconds is %d, but preStopSleepSeconds + lameDuckSeconds + drainSeconds + slackSeconds is %d: running calls would be cut. Raise it, or leave it null." $grace $needed) -}}
{{- end -}}
{{- end -}}

{{- define "penstock.validate.engine" -}}
{{- if eq .Values.engine.name "simulated" -}}
{{- if .Values.engine.args -}}
{{- fail "engine.args are for vLLM, but engine.name is simulated: remove engine.args, or set engine.name to vllm." -}}
{{- end -}}
{{- if gt (int .Values.gpu.count) 0 -}}
{{- fail (printf "gpu.count is %d, but the simulated engine uses no GPU: set gpu.count to 0, or engine.name to vllm." (int .Values.gpu.count)) -}}
{{- end -}}
{{- if gt (int .Values.frontends) 1 -}}
{{- fail (printf "frontends is %d, but the simulated engine lives in one process: set frontends to 1, or engine.name to vllm." (int .Values.frontends)) -}}
{{- end -}}
{{- end -}}
{{- if and (gt (int .Values.engine.restarts) 0) (gt (int .Values.frontends) 1) -}}
{{- fail (printf "engine.restarts is %d, but front ends (here %d) cannot be connected to another engine: set engine.restarts to 0, and the pod is restarted." (int .Values.engine.restarts) (int .Values.frontends)) -}}
{{- end -}}
{{- if and .Values.ports.admin (gt (int .Values.frontends) 1) -}}
{{- fail (printf "ports.admin is %d, but frontends is %d, and Operations needs to see all calls of its pod: leave ports.admin null, or set frontends to 1." (int .Values.ports.admin) (int .Values.frontends)) -}}
{{- end -}}
{{- range $kind, $quantities := pick .Values.resources "requests" "limits" -}}
{{- if hasKey ($quantities | default dict) $.Values.gpu.resource -}}
{{- fail (printf "resources.%s has %s: set gpu.count instead, which the rollout depends on as well." $kind $.Values.gpu.resource) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "penstock.validate.ports" -}}
{{- $ports := list (int .Values.ports.grpc) (int .Values.ports.health) (int .Values.ports.metrics) -}}
{{- with .Values.ports.admin -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- if ne (len ($ports | uniq)) (len $ports) -}}
{{- fail (printf "ports.grpc, ports.health, ports.metrics and ports.admin are %v: each needs a port of its own." $ports) -}}
{{- end -}}
{{- end -}}

{{- define "penstock.validate.tls" -}}
{{- if not .Values.tls.existingSecret -}}
{{- with .Values.tls.existingClientCaSecret -}}
{{- fail (printf "tls.existingClientCaSecret is %s, but callers show certificates only where there is TLS: set tls.existingSecret too." .) -}}
{{- end -}}
{{- with .Values.gateway.existingCertificateSecret -}}
{{- fail (printf "gateway.existingCertificateSecret is %s, but certificates are shown only where there is TLS: set tls.existingSecret too." .) -}}
{{- end -}}
{{- else if eq .Values.service.appProtocol "kubernetes.io/h2c" -}}
{{- fail "service.appProtocol is kubernetes.io/h2c, which is HTTP/2 without TLS, but tls.existingSecret is set: leave service.appProtocol empty." -}}
{{- end -}}
{{- if and .Values.gateway.enabled .Values.tls.existingClientCaSecret (not .Values.gateway.existingCertificateSecret) -}}
{{- fail (printf "tls.existingClientCaSecret is %s, so the gateway needs a certificate as well: set gateway.existingCertificateSecret." .Values.tls.existingClientCaSecret) -}}
{{- end -}}
{{- end -}}

{{- define "penstock.validate.labels" -}}
{{- $own := include "penstock.ownLabels" (dict "root" . "component" "server") | fromYaml -}}
{{- range $value := list "commonLabels" "podLabels" -}}
{{- range $label, $_ := index $.Values $value -}}
{{- if hasKey $own $label -}}
{{- fail (printf "%s sets %s, which the chart sets itself: choose another label." $value $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The variables of the chart's flags, each with the value to use instead; empty where the chart leaves no choice. */}}
{{- define "penstock.validate.env" -}}
{{- $server := dict
  "PENSTOCK_ENGINE" "engine.name"
  "PENSTOCK_ENGINE_ARGS" "engine.args"
  "PENSTOCK_MODEL" "model.name"
  "PENSTOCK_FRONTENDS" "frontends"
  "PENSTOCK_HOST" ""
  "PENSTOCK_INSECURE" "tls.existingSecret"
  "PENSTOCK_GRPC_PORT" "ports.grpc"
  "PENSTOCK_HEALTH_PORT" "ports.health"
  "PENSTOCK_METRICS_PORT" "ports.metrics"
  "PENSTOCK_ADMIN_PORT" "ports.admin"
  "PENSTOCK_ENGINE_RESTARTS" "engine.restarts"
  "PENSTOCK_TLS_CERTIFICATE" "tls.existingSecret"
  "PENSTOCK_TLS_KEY" "tls.existingSecret"
  "PENSTOCK_TLS_CLIENT_CA" "tls.existingClientCaSecret"
  "PENSTOCK_IDENTITY_FILE" "identity.existingSecret"
  "PENSTOCK_LAME_DUCK_SECONDS" "lifecycle.lameDuckSeconds"
  "PENSTOCK_DRAIN_SECONDS" "lifecycle.drainSeconds" -}}
{{- $gateway := dict
  "PENSTOCK_GATEWAY_UPSTREAM" ""
  "PENSTOCK_GATEWAY_HOST" ""
  "PENSTOCK_GATEWAY_PORT" "gateway.port"
  "PENSTOCK_GATEWAY_FORWARD_KEYS" "gateway.forwardKeys"
  "PENSTOCK_GATEWAY_UPSTREAM_CA" "tls.existingSecret"
  "PENSTOCK_GATEWAY_UPSTREAM_CERTIFICATE" "gateway.existingCertificateSecret"
  "PENSTOCK_GATEWAY_UPSTREAM_KEY" "gateway.existingCertificateSecret"
  "PENSTOCK_GATEWAY_DRAIN_SECONDS" "lifecycle.drainSeconds" -}}
{{- include "penstock.validate.notFlags" (dict "path" "extraEnv" "env" .Values.extraEnv "flags" $server) -}}
{{- include "penstock.validate.notFlags" (dict "path" "gateway.extraEnv" "env" .Values.gateway.extraEnv "flags" $gateway) -}}
{{- end -}}

{{- define "penstock.validate.notFlags" -}}
{{- range $name, $_ := .env -}}
{{- $flag := upper $name -}}{{/* in any case it is the same variable to the program */}}
{{- if hasKey $.flags $flag -}}
{{- $remedy := get $.flags $flag | empty | ternary "leave it out" (printf "use %s instead" (get $.flags $flag)) -}}
{{- fail (printf "%s.%s would contradict the flags that the chart sets: %s." $.path $name $remedy) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "penstock.validate.volumes" -}}
{{- range $name := list "tmp" "shm" "model-cache" "tls" "client-ca" "identity" -}}
{{- if hasKey $.Values.extraVolumes $name -}}
{{- fail (printf "extraVolumes.%s: the chart has a volume of that name already; choose another." $name) -}}
{{- end -}}
{{- end -}}
{{- range $path, $mount := .Values.extraVolumeMounts -}}
{{- if or (has $path (list "/tmp" "/dev/shm")) (hasPrefix "/etc/penstock/" $path) (and $.Values.modelCache.existingClaim (eq $path $.Values.modelCache.mountPath)) -}}
{{- fail (printf "extraVolumeMounts mounts %s on %s, where the chart mounts a volume already: choose another path." $mount.name $path) -}}
{{- end -}}
{{- if not (hasKey $.Values.extraVolumes $mount.name) -}}
{{- fail (printf "extraVolumeMounts mounts %s on %s, but extraVolumes has no %s." $mount.name $path $mount.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
