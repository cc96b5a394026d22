import assert from "node:assert/strict";
import { mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import {
  adoptBootstrapData,
  type BootstrapData,
  bootstrapKey,
  compareBootstrapData,
  openBootstrapData,
  readBootstrapData,
  sealBootstrapData,
  writeBootstrapData,
} from "../../../src/server/bootstrap-data.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

function file(text: string, time = "2026-01-01T00:00:00.000Z") {
  return { Timestamp: time, Content: Buffer.from(text).toString("base64") };
}

function put(directory: string, path: string, text: string, time = "2026-01-01T00:00:00Z"): void {
  const target = join(directory, path);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, text);
  utimesSync(target, new Date(time), new Date(time));
}

describe("bootstrap data", () => {
  test("what one password sealed opens with it, and with no other", async () => {
    const data = { ServerCA: file("certificate"), ServiceKey: file("key") };
    const sealed = await sealBootstrapData("secret", data);
    assert.match(sealed.toString(), /^[0-9a-f]{16}:[A-Za-z0-9+/]+=*$/);
    assert.deepEqual(await openBootstrapData("secret", sealed), data);
    await assert.rejects(openBootstrapData("other", sealed), /does not open with this token/);
    await assert.rejects(openBootstrapData("secret", Buffer.from("nothing")), /damaged/);
  });

  test("it is sealed as K3s does: AES-256-GCM under PBKDF2-SHA1 of 4096 rounds", async () => {
    // Made with Python's hashlib and cryptography from the password "secret".
    const sealed =
      "00112233aabbccdd:AAECAwQFBgcICQoLi/8ygK3Loq2fy44dwOF5YmkHMZg3DbbZJiYT0vL+w3InabuYslzPU6TAZHcvRqmDE5C0Jbyz7qQn6MN1Tx+fyq/Kefs6G5KZJYy6NbSNokTBDuk=";
    assert.deepEqual(await openBootstrapData("secret", Buffer.from(sealed)), {
      ServerCA: { Timestamp: "2026-01-01T00:00:00Z", Content: "Y2E=" },
    });
  });

  test("it lies under the first twelve digits of the password's SHA-256", () => {
    assert.equal(bootstrapKey("secret"), "/bootstrap/2bb80d537b1d");
  });

  test("files travel with their times, readable by their owner alone", (t) => {
    const [from, to] = [temporaryDirectory(t), temporaryDirectory(t)];
    put(from, "tls/server-ca.crt", "certificate");
    put(from, "tls/etcd/peer-ca.key", "key");
    put(from, "cred/passwd", "p,server,server,k3s:server\n");
    const data = readBootstrapData(from);
    assert.deepEqual(Object.keys(data).sort(), ["ETCDPeerCAKey", "PasswdFile", "ServerCA"]);
    writeBootstrapData(to, data);
    const copy = join(to, "tls/etcd/peer-ca.key");
    assert.equal(readFileSync(copy, "utf8"), "key");
    assert.equal(statSync(copy).mode & 0o777, 0o600);
    const { PasswdFile: _, ...copied } = data;
    assert.deepEqual(readBootstrapData(to), copied, "every server writes its own passwords");
  });

  test("what is missing or older here is taken over, what is the same is left alone, what is newer here is told", () => {
    const cluster: BootstrapData = {
      ServerCA: file("same"),
      ServerCAKey: file("cluster"),
      ClientCA: file("cluster"),
      ServiceKey: file("cluster"),
      PasswdFile: file("theirs"),
      Unknown: file("of a later version"),
    };
    const here: BootstrapData = {
      ServerCA: file("same", "2026-02-01T00:00:00Z"),
      ServerCAKey: file("older", "2025-01-01T00:00:00Z"),
      // Clocks may differ by that much.
      ClientCA: file("other", "2026-01-01T00:00:02Z"),
      ServiceKey: file("newer", "2026-01-01T00:00:03Z"),
      PasswdFile: file("ours"),
    };
    assert.deepEqual(compareBootstrapData(cluster, here), {
      outdated: ["tls/server-ca.key", "tls/client-ca.crt"],
      newerHere: ["tls/service.key"],
    });
    assert.deepEqual(compareBootstrapData({ ServerCA: file("x") }, {}), {
      outdated: ["tls/server-ca.crt"],
      newerHere: [],
    });
  });

  test("a newer file here ends the start, and nothing is written", (t) => {
    const directory = temporaryDirectory(t);
    put(directory, "tls/server-ca.crt", "mine", "2026-06-01T00:00:00Z");
    const cluster = { ServerCA: file("theirs"), ClientCA: file("theirs") };
    assert.throws(() => adoptBootstrapData(directory, cluster), {
      name: "ConfigurationError",
      message: /tls\/server-ca\.crt newer than datastore and could cause a cluster outage/,
    });
    assert.deepEqual(Object.keys(readBootstrapData(directory)), ["ServerCA"]);
  });
});
