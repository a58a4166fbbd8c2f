"""The manifests of k8s/, and Dagster as they run it, without a cluster."""
