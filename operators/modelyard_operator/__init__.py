"""The Kubernetes operator: reconciles TrainingJob, EvaluationJob and ModelDeployment onto KubeRay."""
