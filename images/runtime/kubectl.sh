#!/bin/sh
# kubectl with this server's own kubeconfig, unless another is named.
if [ -z "${KUBECONFIG:-}" ] && [ -r /etc/rancher/k3s/k3s.yaml ]; then
  export KUBECONFIG=/etc/rancher/k3s/k3s.yaml
fi
exec /usr/libexec/k3ts/kubectl "$@"
