"""Ray clusters: jobs that are sent to one; beside it, what makes one: KubeRay, Dockerfile, Google Cloud, Grafana."""
