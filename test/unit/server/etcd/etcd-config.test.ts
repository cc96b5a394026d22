import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConfigurationError } from "../../../../src/machinery/configuration-error.ts";
import type { EtcdBeginning, EtcdConfigOptions } from "../../../../src/server/etcd/etcd-config.ts";
import { clientUrl, etcdConfig, localAddress, peerUrl } from "../../../../src/server/etcd/etcd-config.ts";

const files = (name: string) => ({ ca: `/tls/${name}-ca.crt`, cert: `/tls/${name}.crt`, key: `/tls/${name}.key` });
const configOf = (change: Partial<EtcdConfigOptions> = {}) =>
  etcdConfig({
    name: "one-12345678",
    dataDirectory: "/db/etcd",
    address: "10.1.2.3",
    certificates: { client: files("client"), server: files("server"), peer: files("peer") },
    beginning: { kind: "new" },
    exposeMetrics: false,
    extraArguments: [],
    ...change,
  });

describe("etcd's configuration", () => {
  test("has K3s' addresses: clients and peers on the node's address and loopback, metrics on loopback alone", () => {
    const config = configOf();
    assert.equal(config["listen-client-urls"], "https://127.0.0.1:2379,https://10.1.2.3:2379");
    assert.equal(config["listen-client-http-urls"], "https://127.0.0.1:2382");
    assert.equal(config["listen-peer-urls"], "https://127.0.0.1:2380,https://10.1.2.3:2380");
    assert.equal(config["advertise-client-urls"], "https://10.1.2.3:2379");
    assert.equal(config["listen-metrics-urls"], "http://127.0.0.1:2381");
    assert.equal(
      configOf({ exposeMetrics: true })["listen-metrics-urls"],
      "http://127.0.0.1:2381,http://10.1.2.3:2381",
    );
  });

  test("knows clients and peers by certificates of authorities of their own", () => {
    const config = configOf();
    assert.deepEqual(config["client-transport-security"], {
      "cert-file": "/tls/server.crt",
      "key-file": "/tls/server.key",
      "client-cert-auth": true,
      "trusted-ca-file": "/tls/server-ca.crt",
    });
    assert.equal((config["peer-transport-security"] as Record<string, unknown>)["trusted-ca-file"], "/tls/peer-ca.crt");
  });

  test("says how the member begins, and nothing where its data says it", () => {
    const begins = (beginning: EtcdBeginning) => {
      const config = configOf({ beginning });
      return [config["initial-cluster-state"], config["initial-cluster"], config["initial-advertise-peer-urls"]];
    };
    assert.deepEqual(begins({ kind: "new" }), ["new", "one-12345678=https://10.1.2.3:2380", "https://10.1.2.3:2380"]);
    const founders = ["one-12345678=https://10.1.2.3:2380", "two-12345678=https://10.1.2.4:2380"];
    assert.deepEqual(begins({ kind: "new", members: founders }), ["new", founders.join(","), "https://10.1.2.3:2380"]);
    assert.deepEqual(begins({ kind: "join", members: ["a=https://a:2380", "b=https://b:2380"] }), [
      "existing",
      "a=https://a:2380,b=https://b:2380",
      "https://10.1.2.3:2380",
    ]);
    assert.deepEqual(begins({ kind: "existing" }), [undefined, undefined, undefined]);
  });

  test("takes --etcd-arg as K3s does: numbers, durations, lists, booleans, texts; the last one counts", () => {
    const config = configOf({
      extraArguments: [
        "quota-backend-bytes=8589934592",
        "--heartbeat-interval=250",
        "experimental-corrupt-check-time=1m30s",
        "auto-compaction-retention=1h",
        "log-outputs=[stderr, '/var/log/etcd.log']",
        "pre-vote=FALSE",
        "metrics=basic",
        "metrics=extensive",
      ],
    });
    assert.equal(config["quota-backend-bytes"], 8_589_934_592);
    assert.equal(config["heartbeat-interval"], 250);
    assert.equal(config["experimental-corrupt-check-time"], 90e9);
    assert.equal(config["auto-compaction-retention"], "1h");
    assert.deepEqual(config["log-outputs"], ["stderr", "/var/log/etcd.log"]);
    assert.equal(config["pre-vote"], false);
    assert.equal(config["metrics"], "extensive");
  });

  test("refuses an --etcd-arg without a value, and names it", () => {
    assert.throws(
      () => configOf({ extraArguments: ["metrics"] }),
      (error) => error instanceof ConfigurationError && /"metrics" for --etcd-arg/.test(error.message),
    );
  });

  test("a node whose address is of the loopback network listens there alone, so that several fit on one machine", () => {
    const config = configOf({ address: "127.7.7.7" });
    assert.equal(config["listen-client-urls"], "https://127.7.7.7:2379");
    assert.equal(config["listen-metrics-urls"], "http://127.7.7.7:2381");
    assert.equal(localAddress("127.7.7.7"), "127.7.7.7");
  });

  test("writes IPv6 addresses in brackets", () => {
    assert.equal(peerUrl("fd00::1"), "https://[fd00::1]:2380");
    assert.equal(clientUrl(localAddress("fd00::1")), "https://[::1]:2379");
  });
});
