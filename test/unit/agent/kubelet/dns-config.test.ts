import assert from "node:assert/strict";
import { test } from "node:test";
import { parseResolvConf, podDnsConfig, podHostname, podHosts } from "../../../../src/agent/kubelet/dns-config.ts";
import { pod } from "./pod-fixture.ts";

const settings = {
  clusterDns: ["10.43.0.10"],
  clusterDomain: "cluster.local",
  host: parseResolvConf("# a comment\nnameserver 192.0.2.53\nsearch example.com\noptions edns0\n"),
};
const cluster = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com"];

test("ClusterFirst asks the cluster's DNS and searches the pod's namespace first", () => {
  assert.deepEqual(podDnsConfig(pod(), settings), { servers: ["10.43.0.10"], searches: cluster, options: ["ndots:5"] });
});

test("on the node's network ClusterFirst means the node's resolvers, unless it is asked for", () => {
  assert.deepEqual(podDnsConfig(pod({ hostNetwork: true, dnsPolicy: "ClusterFirst" }), settings), settings.host);
  assert.deepEqual(podDnsConfig(pod({ hostNetwork: true, dnsPolicy: "ClusterFirstWithHostNet" }), settings).servers, [
    "10.43.0.10",
  ]);
});

test("Default takes the node's resolvers, None only the pod's own", () => {
  assert.deepEqual(podDnsConfig(pod({ dnsPolicy: "Default" }), settings), settings.host);
  const own = {
    nameservers: ["203.0.113.1"],
    searches: ["x"],
    options: [{ name: "ndots", value: "2" }, { name: "edns0" }],
  };
  assert.deepEqual(podDnsConfig(pod({ dnsPolicy: "None", dnsConfig: own }), settings), {
    servers: ["203.0.113.1"],
    searches: ["x"],
    options: ["ndots:2", "edns0"],
  });
});

test("the pod's own settings are added, and its options win", () => {
  const merged = podDnsConfig(
    pod({ dnsConfig: { searches: ["x", "cluster.local"], options: [{ name: "ndots", value: "1" }] } }),
    settings,
  );
  assert.deepEqual([merged.searches, merged.options], [[...cluster, "x"], ["ndots:1"]]);
});

test("the hosts file names the pod, with its domain when it has a subdomain, and its aliases", () => {
  const of = pod({ hostname: "web-0", subdomain: "web", hostAliases: [{ ip: "198.51.100.1", hostnames: ["a", "b"] }] });
  const text = podHosts(of, ["10.42.0.2"], "cluster.local");
  assert.match(text, /^10\.42\.0\.2\tweb-0\.web\.default\.svc\.cluster\.local\tweb-0$/m);
  assert.match(text, /^198\.51\.100\.1\ta\tb$/m);
});

test("a host name is the pod's name cut to 63 characters that may end one", () => {
  const long = pod({}, { metadata: { name: `${"a".repeat(62)}-bcd`, namespace: "default" } });
  assert.equal(podHostname(long, "cluster.local").hostname, "a".repeat(62));
});
