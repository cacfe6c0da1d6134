{{/*
What the operator does, and nothing else. The same rules stand in a ClusterRole (all namespaces) or in a Role (one).
Secrets are in none of them: pods name them, the kubelet reads them. A Role for a run's driver names two ConfigMaps with
get, patch and update; nobody may grant what they do not hold, so the operator holds these for ConfigMaps.
*/}}
{{- define "modelyard.rules" -}}
- apiGroups: [modelyard.dev]
  resources: [trainingjobs, modeldeployments]
  verbs: [get, list, watch]
- apiGroups: [modelyard.dev] # a deployment's rollout.evaluation is an EvaluationJob of its own
  resources: [evaluationjobs]
  verbs: [get, list, watch, create]
- apiGroups: [modelyard.dev] # ttlSecondsAfterFinished
  resources: [trainingjobs, evaluationjobs]
  verbs: [delete]
- apiGroups: [modelyard.dev]
  resources: [trainingjobs/status, evaluationjobs/status, modeldeployments/status]
  verbs: [patch]
- apiGroups: [ray.io]
  resources: [rayjobs, rayservices]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [ray.io] # KubeRay makes them; the operator scales the groups of a live one
  resources: [rayclusters]
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""] # why a pod does not run; whether a claim exists and who may mount it; KubeRay's Services
  resources: [pods, persistentvolumeclaims, services]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
{{- end -}}
