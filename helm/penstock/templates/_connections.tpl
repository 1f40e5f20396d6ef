{{/* How callers connect, and who they are. */}}
{{- define "penstock.connectionArgs" -}}
{{- with .Values.tls -}}
{{- if .existingSecret -}}
- --tls-certificate=/etc/penstock/tls/tls.crt
- --tls-key=/etc/penstock/tls/tls.key
{{- if .existingClientCaSecret }}
- --tls-client-ca=/etc/penstock/client-ca/ca.crt
{{- end }}
{{- else -}}
- --insecure  # the network protects the connections: a port beyond loopback is not opened without TLS otherwise
{{- end }}
{{- end }}
{{- with .Values.identity }}
{{- if .existingSecret }}
- {{ printf "--identity-file=/etc/penstock/identity/%s" .key | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Not empty where the service asks callers for API keys, which it knows from its file or from its environment. */}}
{{- define "penstock.asksForKeys" -}}
{{- if or .Values.identity.existingSecret (hasKey .Values.extraEnv "PENSTOCK_API_KEYS") -}}
true
{{- end -}}
{{- end -}}

{{/* Whole Secrets, not single files of them: those would not follow a renewal. */}}
{{- define "penstock.connectionVolumes" -}}
{{- range $name, $secret := include "penstock.connectionSecrets" . | fromYaml }}
- name: {{ $name }}
  secret: {secretName: {{ $secret | quote }}}
{{- end }}
{{- end -}}

{{- define "penstock.connectionMounts" -}}
{{- range $name, $_ := include "penstock.connectionSecrets" . | fromYaml }}
- {name: {{ $name }}, mountPath: /etc/penstock/{{ $name }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "penstock.connectionSecrets" -}}
{{- with .Values.tls.existingSecret }}
tls: {{ . | quote }}
{{- end }}
{{- with .Values.tls.existingClientCaSecret }}
client-ca: {{ . | quote }}
{{- end }}
{{- with .Values.identity.existingSecret }}
identity: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The line of a Service's port, or nothing. */}}
{{- define "penstock.appProtocol" -}}
{{- with .Values.service.appProtocol | default (ternary "" "kubernetes.io/h2c" (ne .Values.tls.existingSecret "")) -}}
appProtocol: {{ . | quote }}
{{- end -}}
{{- end -}}

{{/* What the gateway needs to dial a service with TLS: the authority alone, and a certificate of its own. */}}
{{- define "penstock.gatewayTlsArgs" -}}
{{- if .Values.tls.existingSecret -}}
- --upstream-ca=/etc/penstock/tls/ca.crt
{{- if .Values.gateway.existingCertificateSecret }}
- --upstream-certificate=/etc/penstock/certificate/tls.crt
- --upstream-key=/etc/penstock/certificate/tls.key
{{- end }}
{{- end -}}
{{- end -}}

{{- define "penstock.gatewayTlsVolumes" -}}
{{- if .Values.tls.existingSecret }}
- name: tls
  secret: {secretName: {{ .Values.tls.existingSecret | quote }}, items: [{key: ca.crt, path: ca.crt}]}
{{- with .Values.gateway.existingCertificateSecret }}
- name: certificate
  secret: {secretName: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "penstock.gatewayTlsMounts" -}}
{{- if .Values.tls.existingSecret }}
- {name: tls, mountPath: /etc/penstock/tls, readOnly: true}
{{- if .Values.gateway.existingCertificateSecret }}
- {name: certificate, mountPath: /etc/penstock/certificate, readOnly: true}
{{- end }}
{{- end }}
{{- end -}}
