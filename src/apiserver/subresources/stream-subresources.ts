import type { StreamSubresource } from "../request.ts";
import { attachSubresource, execSubresource } from "./exec.ts";
import type { KubeletClient } from "./kubelet.ts";
import { logSubresource } from "./log.ts";
import { portForwardSubresource } from "./port-forward.ts";
import { proxySubresource } from "./proxy.ts";

/**
 * All subresources that stream, by "<group>/<resource>/<subresource>" (the core group is empty). They throw StatusErrors
 * before anything was written to the reply or the switched connection; afterwards they end it themselves.
 */
export function streamSubresources(kubelet: KubeletClient): Readonly<Record<string, StreamSubresource>> {
  const proxy = proxySubresource(kubelet);
  return {
    "/pods/log": logSubresource(kubelet),
    "/pods/exec": execSubresource(kubelet),
    "/pods/attach": attachSubresource(kubelet),
    "/pods/portforward": portForwardSubresource(kubelet),
    "/pods/proxy": proxy,
    "/services/proxy": proxy,
    "/nodes/proxy": proxy,
  };
}
