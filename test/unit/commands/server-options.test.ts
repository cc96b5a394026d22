import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { agentOptionsFrom } from "../../../src/commands/agent-options.ts";
import { readFlags } from "../../../src/commands/flag-values.ts";
import { serverFlags } from "../../../src/commands/flags.ts";
import { passedOver, serverOptionsFrom } from "../../../src/commands/server-options.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

const place = ["--disable-agent", "--advertise-address", "192.0.2.1"];

function options(args: readonly string[], environment: Record<string, string> = {}) {
  const all = [...place, ...args];
  return serverOptionsFrom(
    readFlags("k3ts server", serverFlags, all, environment, () => {}),
    all,
    environment,
  );
}

test("a server is called as its node is: in lower case, with or without a node in it", () => {
  const node = ["--node-name", "Server-A"];
  assert.equal(options(node).nodeName, "server-a");
  const args = [...node, "--advertise-address", "192.0.2.1", "--node-ip", "192.0.2.1"];
  const flags = readFlags("k3ts server", serverFlags, args, {}, () => {});
  assert.equal(serverOptionsFrom(flags, args, {}).nodeName, "server-a");
});

describe("the datastore of a server (K3s documentation, datastore)", () => {
  test("without an endpoint it is SQLite in the data directory", () => {
    for (const args of [[], ["--datastore-endpoint", ""], ["--datastore-endpoint=sqlite"]]) {
      assert.deepEqual(options(args).datastore, { endpoint: { kind: "sqlite" }, files: {} });
    }
  });

  test("an endpoint comes from the flag or its variable, with the files of its connections", (t) => {
    const file = join(temporaryDirectory(t), "file.pem");
    writeFileSync(file, "");
    const environment = {
      K3S_DATASTORE_ENDPOINT: "https://one:2379,https://two:2379",
      K3S_DATASTORE_CAFILE: file,
      K3S_DATASTORE_CERTFILE: file,
    };
    const { endpoint, files } = options(["--datastore-keyfile", file], environment).datastore;
    assert.equal(endpoint.kind, "etcd");
    assert.deepEqual(files, { ca: file, cert: file, key: file });
    assert.equal(options(["--datastore-endpoint", "mysql://"], environment).datastore.endpoint.kind, "mysql");
  });

  test("a file that is not there and an endpoint that cannot be read are told, and no password is", () => {
    assert.throws(() => options(["--datastore-cafile", "/nowhere/ca.pem"]), {
      name: "ConfigurationError",
      message: '--datastore-cafile: there is no file "/nowhere/ca.pem"; give the path of a PEM file',
    });
    assert.throws(
      () => options(["--datastore-endpoint", "oracle://user:hidden-word@host/database"]),
      (error: Error) => error.name === "ConfigurationError" && !error.message.includes("hidden-word"),
    );
  });

  test("what a node records of its start holds neither the endpoint nor a token", () => {
    const args = [
      ...["--datastore-endpoint", "postgres://user:hidden-word@host/database", "--token=hidden-word"],
      ...["--datastore-endpoint=postgres://user:hidden-word@host/database", "-t", "hidden-word"],
    ];
    const environment = {
      K3S_DATASTORE_ENDPOINT: "postgres://user:hidden-word@host/database",
      K3S_TOKEN: "hidden-word",
      K3S_AGENT_TOKEN: "hidden-word",
      K3S_DATASTORE_CAFILE: "/etc/ca.pem",
    };
    const flags = readFlags("k3ts server", serverFlags, args, environment, () => {});
    const { nodeArgs, nodeEnvironment } = agentOptionsFrom(flags, args, environment, {
      controlPlane: true,
      server: "",
      token: "",
    });
    assert.ok(!JSON.stringify([nodeArgs, nodeEnvironment]).includes("hidden-word"));
    assert.ok(nodeArgs.includes("--datastore-endpoint"));
    assert.equal(nodeEnvironment["K3S_DATASTORE_CAFILE"], "/etc/ca.pem");
  });
});

describe("joining a server", () => {
  const url = "https://first:6443";

  test("needs a token: some tools set K3S_URL on a single server", () => {
    assert.equal(options(["--token", "secret"], { K3S_URL: url }).join, url);
    assert.equal(options(["--server", url, "--token", "secret"]).join, url);
    assert.equal(options([], { K3S_URL: url }).join, undefined);
    assert.equal(options(["--server", url]).join, undefined);
  });

  test("is not what servers do that share a database", () => {
    const args = ["--server", url, "--token", "secret", "--datastore-endpoint", "mysql://"];
    assert.equal(options(args).join, undefined);
  });

  test("is not begun without a token by a server that could begin a cluster as well", () => {
    assert.throws(() => options(["--cluster-init", "--server", url]), {
      name: "ConfigurationError",
      message:
        "K3S_TOKEN is required to join a cluster; " +
        "give the token of https://first:6443, or remove --server (K3S_URL) to begin a new cluster",
    });
  });

  test("that does not come to be although a URL says so is told", () => {
    const told = (...args: string[]) => passedOver(readFlags("k3ts server", serverFlags, args, {}, () => {}));
    assert.deepEqual(told(), []);
    assert.deepEqual(told("--server", url, "--token", "secret"), []);
    assert.match(told("--server", url).join("\n"), /^--server \(K3S_URL\) is passed over: .*K3S_TOKEN/);
    const database = ["--datastore-endpoint", "mysql://"];
    assert.deepEqual(told(...database), []);
    assert.match(told("--server", url, "--token", "secret", ...database).join("\n"), /^--server .* is passed over/);
    assert.match(told("--cluster-init", ...database).join("\n"), /^--cluster-init is passed over/);
  });
});

describe("snapshots and the reset of a server (K3s documentation, etcd-snapshot)", () => {
  test("snapshots are taken every twelve hours and five are kept, unless told otherwise", () => {
    const { schedule, ...settings } = options([]).snapshots;
    assert.deepEqual(settings, { name: "etcd-snapshot", directory: undefined, compress: false, retention: 5 });
    assert.deepEqual([...schedule!.hours], [0, 12]);
    assert.equal(options(["--etcd-disable-snapshots"]).snapshots.schedule, undefined);
    const other = ["--etcd-snapshot-dir", "/backups", "--etcd-snapshot-retention=0", "--etcd-snapshot-compress"];
    const { directory, retention, compress } = options(other).snapshots;
    assert.deepEqual({ directory, retention, compress }, { directory: "/backups", retention: 0, compress: true });
  });

  test("a schedule that cannot be read is told by its part", () => {
    assert.throws(
      () => options(["--etcd-snapshot-schedule-cron", "0 25 * * *"]),
      /invalid value "0 25 \* \* \*" for --etcd-snapshot-schedule-cron: "25" is not between 0 and 23/,
    );
  });

  test("a snapshot is restored only with --cluster-reset, and never by a server that joins", () => {
    assert.equal(options([]).reset, undefined);
    assert.deepEqual(options(["--cluster-reset"]).reset, { restorePath: undefined });
    const path = ["--cluster-reset-restore-path", "/snapshot"];
    assert.deepEqual(options(["--cluster-reset", ...path]).reset, { restorePath: "/snapshot" });
    assert.throws(() => options(path), /--cluster-reset required with --cluster-reset-restore-path/);
    assert.throws(
      () => options(["--cluster-reset", "--server", "https://192.0.2.2:6443", "--token", "t"]),
      /cannot perform cluster-reset while server URL is set/,
    );
  });

  test("snapshots in S3 are refused; settings of S3 alone ask for none", () => {
    const settings = ["--etcd-s3-bucket=backups", "--etcd-s3-secret-key", "hidden", "--etcd-s3-insecure"];
    assert.throws(
      () => options(["--etcd-s3", ...settings]),
      (error: Error) => {
        assert.match(
          error.message,
          /--etcd-s3 is not supported .*: snapshots are kept in the server's --etcd-snapshot/,
        );
        assert.doesNotMatch(error.message, /hidden/);
        return true;
      },
    );
    assert.deepEqual(options(["--etcd-s3=false", ...settings]).snapshots, options([]).snapshots);
  });
});
