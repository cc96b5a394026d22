import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../../agent/host/files.ts";

/** What packaged manifests are filled with. */
export interface ManifestValues {
  readonly clusterDns: string;
  readonly clusterDomain: string;
  readonly disabled: ReadonlySet<string>;
}

/**
 * Objects that tools look for in kube-system under CoreDNS' names. DNS itself is answered by every node at the
 * service's address, so there is no Deployment, and the Service selects nothing.
 */
function coredns({ clusterDns, clusterDomain }: ManifestValues): string {
  return `apiVersion: v1
kind: ServiceAccount
metadata:
  name: coredns
  namespace: kube-system
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: coredns
  namespace: kube-system
data:
  Corefile: |
    .:53 {
        kubernetes ${clusterDomain} in-addr.arpa ip6.arpa
        hosts /etc/coredns/NodeHosts {
          fallthrough
        }
        forward . /etc/resolv.conf
        cache 30
    }
---
apiVersion: v1
kind: Service
metadata:
  name: kube-dns
  namespace: kube-system
  labels:
    k8s-app: kube-dns
    kubernetes.io/cluster-service: "true"
    kubernetes.io/name: CoreDNS
spec:
  clusterIP: ${clusterDns}
  ports:
  - name: dns
    port: 53
    protocol: UDP
  - name: dns-tcp
    port: 53
    protocol: TCP
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kube-dns
  namespace: kube-system
  labels:
    kubernetes.io/service-name: kube-dns
    endpointslice.kubernetes.io/managed-by: k3ts.io
addressType: IPv4
endpoints:
- addresses: ["${clusterDns}"]
ports:
- name: dns
  port: 53
  protocol: UDP
- name: dns-tcp
  port: 53
  protocol: TCP
`;
}

const packaged: Readonly<Record<string, (values: ManifestValues) => string>> = { coredns };

/** Writes the packaged manifests anew at each start, as K3s does; takes away those of disabled components. */
export function writePackagedManifests(directory: string, values: ManifestValues): void {
  for (const [name, render] of Object.entries(packaged)) {
    const path = join(directory, `${name}.yaml`);
    if (values.disabled.has(name)) {
      rmSync(path, { force: true });
      continue;
    }
    const text = render(values);
    if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileAtomic(path, text, 0o600);
  }
}
