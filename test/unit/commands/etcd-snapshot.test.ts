import assert from "node:assert/strict";
import { test } from "node:test";
import { printSnapshots, readSnapshotArguments } from "../../../src/commands/etcd-snapshot.ts";

/** K3s documentation, "etcd-snapshot": what its command takes and prints. */

const request = (...args: string[]) => readSnapshotArguments(args, {}).request;

test("a snapshot is saved as the server is set where nothing else is said, and removes none", () => {
  assert.deepEqual(request("save"), { operation: "save", name: ["on-demand"], retention: 0 });
  assert.deepEqual(request("save", "--name", "mine", "--dir=/backups", "--snapshot-compress"), {
    operation: "save",
    name: ["mine"],
    dir: "/backups",
    compress: true,
    retention: 0,
  });
  assert.equal(request("save", "--etcd-snapshot-compress=false").compress, false);
});

test("prune keeps what the server keeps, or as many as are named", () => {
  assert.deepEqual(request("prune"), { operation: "prune", name: ["on-demand"] });
  for (const flag of ["--snapshot-retention", "--etcd-snapshot-retention"])
    assert.deepEqual(request("prune", "--name", "etcd-snapshot", flag, "2"), {
      operation: "prune",
      name: ["etcd-snapshot"],
      retention: 2,
    });
});

test("delete takes names, the other commands take none", () => {
  assert.deepEqual(request("delete", "a-n-1", "a-n-2"), { operation: "delete", name: ["a-n-1", "a-n-2"] });
  assert.throws(() => request("delete"), /no snapshots given for removal/);
  assert.throws(() => request("save", "mine"), /this command does not take any arguments, got "mine"/);
  for (const command of ["ls", "list", "l"]) assert.deepEqual(request(command), { operation: "list" });
});

test("flags may stand before the subcommand", () => {
  assert.deepEqual(request("--dir", "/backups", "ls"), { operation: "list", dir: "/backups" });
  assert.throws(() => request("--dir", "/backups"), /unknown command "" of etcd-snapshot/);
  assert.throws(() => request("burn"), /unknown command "burn" of etcd-snapshot/);
});

test("S3 is refused by its name, and no secret is repeated", () => {
  const settings = ["--s3-bucket=test", "--s3-access-key=test", "--s3-secret-key=hidden"];
  assert.throws(
    () => request("--s3", ...settings, "save"),
    (error: Error) => {
      assert.match(error.message, /--etcd-s3 is not supported by this version of k3ts: snapshots are kept in/);
      assert.doesNotMatch(error.message, /hidden/);
      return true;
    },
  );
  assert.throws(() => request("save", "--etcd-s3"), /--etcd-s3 is not supported/);
  assert.deepEqual(request(...settings, "ls"), { operation: "list" });
});

test("a list is printed as a table, as JSON and as YAML", () => {
  const list = {
    kind: "List",
    apiVersion: "v1",
    metadata: {},
    items: [
      {
        metadata: { name: "local-on-demand-n-1767225600", labels: {} },
        spec: { snapshotName: "on-demand-n-1767225600", nodeName: "n", location: "file:///s/on-demand-n-1767225600" },
        status: { readyToUse: true, size: "512k", creationTime: "2026-01-01T00:00:00Z" },
      },
    ],
  };
  assert.equal(
    printSnapshots(list, "table"),
    "Name                   Location                         Size   Created\n" +
      "on-demand-n-1767225600 file:///s/on-demand-n-1767225600 512000 2026-01-01T00:00:00Z\n",
  );
  assert.match(printSnapshots(list, "json"), /^\{\n {4}"kind": "List",\n/);
  assert.deepEqual(JSON.parse(printSnapshots(list, "json")), list);
  assert.match(printSnapshots(list, "yaml"), /^apiVersion: v1\nitems:\n- metadata:\n/);
  assert.match(printSnapshots(list, "yaml"), /\n {4}creationTime: "2026-01-01T00:00:00Z"\n/);
  const output = (...args: string[]) => readSnapshotArguments(["ls", ...args], {}).output;
  assert.deepEqual([output(), output("-o", "json"), output("--output=yaml")], ["table", "json", "yaml"]);
  assert.throws(() => output("-o", "xml"), /invalid output format: xml; use json, yaml or table/);
});
