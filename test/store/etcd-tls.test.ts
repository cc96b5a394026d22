import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { freePort } from "../../src/cluster/free-port.ts";
import { ioClock } from "../../src/machinery/clock.ts";
import { ConfigurationError } from "../../src/machinery/configuration-error.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { ensureCertificates } from "../../src/server/certificates.ts";
import type { DatastoreFiles } from "../../src/store/datastore-endpoint.ts";
import { openEtcdStore } from "../../src/store/etcd/etcd-store.ts";
import type { Store } from "../../src/store/store.ts";
import { run, tryRun } from "../../tools/run.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";

describe("a store on an etcd with TLS", () => {
  const directory = mkdtempSync(join(tmpdir(), "k3ts-etcd-tls-"));
  const container = `test-etcd-tls-${randomBytes(4).toString("hex")}`;
  let port: number;
  let files: Required<DatastoreFiles>;
  let strangers: string;

  const open = (more: DatastoreFiles, host = "127.0.0.1"): Promise<Store> =>
    openEtcdStore({ servers: [{ host, port, tls: true }], files: more, clock: new FakeClock(), logger: silentLogger });

  before(async () => {
    const make = async (name: string) => {
      const own = join(directory, name);
      mkdirSync(own);
      await ensureCertificates(
        own,
        [{ file: "ca", commonName: "test-ca" }],
        [
          { file: "server", ca: "ca", commonName: "etcd", names: ["127.0.0.1"], usages: ["serverAuth", "clientAuth"] },
          { file: "client", ca: "ca", commonName: "client", usages: ["clientAuth"] },
        ],
        { clock: ioClock },
      );
      return own;
    };
    const own = await make("own");
    strangers = await make("strangers");
    files = { ca: join(own, "ca.crt"), cert: join(own, "client.crt"), key: join(own, "client.key") };
    port = await freePort("127.0.0.1");
    await run("docker", [
      ...["create", "--name", container, "-p", `127.0.0.1:${port}:2379`, "k3ts/test-etcd:1.0"],
      ...["--listen-client-urls=https://0.0.0.0:2379", "--advertise-client-urls=https://127.0.0.1:2379"],
      ...[
        "--client-cert-auth",
        "--trusted-ca-file=/tls/ca.crt",
        "--cert-file=/tls/server.crt",
        "--key-file=/tls/server.key",
      ],
    ]);
    await run("docker", ["cp", own, `${container}:/tls`]);
    await run("docker", ["start", container]);
    await eventually(async () => (await open(files)).close(), 120_000);
  });
  after(async () => {
    await tryRun("docker", ["rm", "-fv", container]);
    rmSync(directory, { recursive: true });
  });

  test("reads, writes and watches with an authority and a client's certificate", async () => {
    const store = await open(files);
    const seen: string[] = [];
    await store.watch("/", {
      afterRevision: await store.currentRevision(),
      onEvents: (events) => seen.push(...events.map(({ key }) => key)),
      onError: assert.fail,
    });
    assert.ok((await store.create("/tls", Buffer.from("x"))).ok);
    assert.deepEqual(seen, ["/tls"]);
    await store.close();
  });

  test("a server of another authority, or by a name that is not its own, is not trusted", async () => {
    const untrusted = (error: Error) => {
      assert.ok(error instanceof ConfigurationError, String(error));
      assert.match(error.message, /certificate.*--datastore-cafile/);
      return true;
    };
    await assert.rejects(open({ ...files, ca: join(strangers, "ca.crt") }), untrusted);
    await assert.rejects(open(files, "localhost"), untrusted);
  });

  test("a client without a certificate, or with a stranger's, is told so", async () => {
    await assert.rejects(open({ ca: files.ca }), /etcd is not available/);
    const stranger = { cert: join(strangers, "client.crt"), key: join(strangers, "client.key") };
    await assert.rejects(open({ ca: files.ca, ...stranger }), /etcd is not available/);
  });

  test("a file that is missing, or half of a pair, is named", async () => {
    await assert.rejects(open({ ...files, key: "/nowhere.key" }), /--datastore-keyfile.*nowhere\.key/);
    await assert.rejects(open({ ca: files.ca, cert: files.cert }), /needs both/);
  });
});
