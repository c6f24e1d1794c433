{{- define "rackpool.labels" -}}
app.kubernetes.io/part-of: rackpool
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What selects the pods of a part; given a list of the root and the part's name. */}}
{{- define "rackpool.selector" -}}
app.kubernetes.io/name: {{ last . }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
{{- end }}

{{- define "rackpool.namespace" -}}
{{ .Values.namespace.name | default .Release.Namespace }}
{{- end }}

{{/* The name of an image; given a list of the root and the image's values. */}}
{{- define "rackpool.image" -}}
{{- $root := first . -}}
{{- $name := (last .).repository -}}
{{- with $root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $name }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end }}

{{- define "rackpool.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The group alone, and what the allocator's configuration is called in it. */}}
{{- define "rackpool.group" -}}
{{ first (splitList "/" .Values.apiGroup) }}
{{- end }}
{{- define "rackpool.ipamconfigs" -}}
{{ ternary "ipamconfigs" "ipamconfigurations" (hasPrefix "crd." .Values.apiGroup) }}
{{- end }}
{{- define "rackpool.definitions" -}}
{{ last (splitList "/" .Values.apiGroup) }}
{{- end }}

{{- define "rackpool.platforms" -}}
"": {plugins: /opt/cni/bin, networks: /etc/cni/net.d}
flatcar: {plugins: /opt/cni/bin, networks: /etc/cni/net.d}
rke2: {plugins: /opt/cni/bin, networks: /etc/cni/net.d}
k3s: {plugins: /var/lib/rancher/k3s/data/cni, networks: /var/lib/rancher/k3s/agent/etc/cni/net.d}
microk8s: {plugins: /var/snap/microk8s/current/opt/cni/bin, networks: /var/snap/microk8s/current/args/cni-network}
{{- end }}
{{- define "rackpool.plugins" -}}
{{ .Values.paths.plugins | default (get (include "rackpool.platforms" . | fromYaml) .Values.platform).plugins }}
{{- end }}
{{- define "rackpool.networks" -}}
{{ .Values.paths.networks | default (get (include "rackpool.platforms" . | fromYaml) .Values.platform).networks }}
{{- end }}

{{/* The store, for every program. */}}
{{- define "rackpool.store" -}}
- name: DATASTORE_TYPE
  value: kubernetes
- name: CALICO_API_GROUP
  value: {{ .Values.apiGroup }}
{{- with .Values.apiServer.host }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ . | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ $.Values.apiServer.port | quote }}
{{- end }}
{{- end }}

{{/* Variables by name. */}}
{{- define "rackpool.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* A container that may do nothing but use the network. */}}
{{- define "rackpool.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The pools that are named in the values, as IPPools. */}}
{{- define "rackpool.pools" -}}
{{- $pools := .Values.pools }}
{{- range $rack := .Values.racks }}
{{- $name := $rack.name | toString }}
{{- $selector := printf "%s == %q" $.Values.rackLabel $name }}
{{- $spec := dict "cidr" $rack.cidr "nodeSelector" $selector "ipipMode" "Never" }}
{{- $pools = append $pools (dict "name" (printf "rack-%s-ippool" $name) "spec" (merge $spec (deepCopy $.Values.rackPools))) }}
{{- end }}
{{- range $pools }}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: {{ .name }}
spec:
  {{- toYaml .spec | nindent 2 }}
{{- end }}
{{- end }}
