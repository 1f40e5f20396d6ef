{{/* What a pod needs between the decision to end it and its last byte. */}}
{{- define "penstock.neededGraceSeconds" -}}
{{- with .Values.lifecycle -}}
{{- add (int .preStopSleepSeconds) (int .lameDuckSeconds) (int .drainSeconds) (int .slackSeconds) -}}
{{- end -}}
{{- end -}}

{{- define "penstock.graceSeconds" -}}
{{- .Values.lifecycle.terminationGracePeriodSeconds | default (include "penstock.neededGraceSeconds" .) | int -}}
{{- end -}}

{{/* Slowest honest step of a rollout: an old pod ends, its successor is scheduled and pulled (300 s), then loads. */}}
{{- define "penstock.progressDeadlineSeconds" -}}
{{- add (int .Values.lifecycle.startupBudgetSeconds) (int (include "penstock.graceSeconds" .)) 300 -}}
{{- end -}}

{{- define "penstock.startupFailureThreshold" -}}
{{- $period := int .Values.probes.startup.periodSeconds -}}
{{- div (sub (add (int .Values.lifecycle.startupBudgetSeconds) $period) 1) $period -}}
{{- end -}}

{{- define "penstock.rolloutStrategy" -}}
{{- $preset := .Values.rollout.preset -}}
{{- if eq $preset "auto" -}}
{{- $preset = ternary "inPlace" "surge" (gt (int .Values.gpu.count) 0) -}}
{{- end -}}
type: RollingUpdate
rollingUpdate:
  maxSurge: {{ ternary 1 0 (eq $preset "surge") }}
  maxUnavailable: {{ ternary 0 1 (eq $preset "surge") }}
{{- end -}}

{{- define "penstock.preStop" -}}
{{- with int .Values.lifecycle.preStopSleepSeconds -}}
lifecycle:
  preStop:
    sleep:
      seconds: {{ . }}
{{- end }}
{{- end -}}

{{- define "penstock.probes" -}}
{{- $probes := .Values.probes -}}
startupProbe:
  grpc: {port: {{ int .Values.ports.health }}, service: penstock.v1.Generation}
  periodSeconds: {{ int $probes.startup.periodSeconds }}
  timeoutSeconds: {{ int $probes.startup.timeoutSeconds }}
  failureThreshold: {{ include "penstock.startupFailureThreshold" . }}
readinessProbe:
  grpc: {port: {{ int .Values.ports.health }}, service: penstock.v1.Generation}
  {{- toYaml $probes.readiness | nindent 2 }}
livenessProbe:
  grpc: {port: {{ int .Values.ports.health }}, service: liveness}
  {{- toYaml $probes.liveness | nindent 2 }}
{{- end -}}
