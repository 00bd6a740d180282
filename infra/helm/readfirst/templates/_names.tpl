{{- define "readfirst.labels" -}}
app.kubernetes.io/name: readfirst
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "readfirst.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* What is secret comes from the one secret, everything else from the config map. */ -}}
{{- define "readfirst.environment" -}}
envFrom:
  - configMapRef: { name: {{ .Release.Name }}-settings }
env:
  - name: READFIRST_SITE_KEY
    valueFrom: { secretKeyRef: { name: {{ .Values.secret }}, key: site-key } }
  - name: READFIRST_POSTGRES__DSN
    valueFrom: { secretKeyRef: { name: {{ .Values.secret }}, key: postgres-dsn } }
  {{- if .Values.kafka.saslMechanism }}
  - name: READFIRST_KAFKA__SASL_USERNAME
    valueFrom: { secretKeyRef: { name: {{ .Values.secret }}, key: kafka-username } }
  - name: READFIRST_KAFKA__SASL_PASSWORD
    valueFrom: { secretKeyRef: { name: {{ .Values.secret }}, key: kafka-password } }
  {{- end }}
{{- end }}

{{- /* What the site has promoted, and what Triton serves of it. */ -}}
{{- define "readfirst.models" -}}
- name: models
  persistentVolumeClaim: { claimName: {{ .Values.models.existingClaim | default (print .Release.Name "-models") }} }
{{- end }}

{{- define "readfirst.container" -}}
image: {{ include "readfirst.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}
