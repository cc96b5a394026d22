import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ioClock } from "../../src/machinery/clock.ts";
import { ensureCertificates } from "../../src/server/certificates.ts";
import { run } from "../../tools/run.ts";
import type { TestDatabase } from "../support/database.ts";

/** Certificates for a database server at 127.0.0.1 and its clients, and an authority that has nothing to do with them. */
export interface SqlCertificates extends AsyncDisposable {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly strangersCa: string;
}

/** Makes certificates and copies the server's to /tls in its container, readable by `user` only. */
export async function bringCertificates(database: TestDatabase, user: string): Promise<SqlCertificates> {
  const directory = await mkdtemp(join(tmpdir(), "k3ts-sql-tls-"));
  const make = async (name: string) => {
    const own = join(directory, name);
    await mkdir(own);
    await ensureCertificates(
      own,
      [{ file: "ca", commonName: "test-ca" }],
      [
        { file: "server", ca: "ca", commonName: "database", names: ["127.0.0.1"], usages: ["serverAuth"] },
        { file: "client", ca: "ca", commonName: "client", usages: ["clientAuth"] },
      ],
      { clock: ioClock },
    );
    return own;
  };
  const own = await make("own");
  const strangers = await make("strangers");
  await run("docker", ["cp", own, `${database.container}:/tls`]);
  await run("docker", ["exec", "-u", "root", database.container, "chown", "-R", user, "/tls"]);
  return {
    ca: join(own, "ca.crt"),
    cert: join(own, "client.crt"),
    key: join(own, "client.key"),
    strangersCa: join(strangers, "ca.crt"),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
}
