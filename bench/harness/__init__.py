"""The benchmark's harness: a private cluster, the two gateways, the measures and the report. Standard library only."""
