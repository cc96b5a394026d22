import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ioClock } from "../../../src/machinery/clock.ts";
import { ensureCertificates } from "../../../src/server/certificates.ts";
import { readTlsFiles } from "../../../src/store/tls-files.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

const refused = (message: RegExp) => ({ name: "ConfigurationError", message });

test("the files of a store's connections are told by their option when they cannot be what they are for", async (t) => {
  const directory = temporaryDirectory(t);
  await ensureCertificates(
    directory,
    [{ file: "ca", commonName: "test-ca" }],
    [
      { file: "client", ca: "ca", commonName: "client", usages: ["clientAuth"] },
      { file: "other", ca: "ca", commonName: "other", usages: ["clientAuth"] },
    ],
    { clock: ioClock },
  );
  const path = (name: string) => join(directory, name);
  const files = { ca: path("ca.crt"), cert: path("client.crt"), key: path("client.key") };
  const { ca, cert, key } = readTlsFiles(files);
  for (const text of [ca, cert, key]) assert.match(text ?? "", /^-----BEGIN /);
  assert.deepEqual(readTlsFiles({}), {});

  writeFileSync(path("text"), "host name\n");
  const cases: [object, RegExp][] = [
    [{ cert: files.cert }, /needs both files: --datastore-keyfile is missing$/],
    [{ key: files.key }, /needs both files: --datastore-certfile is missing$/],
    [{ ca: path("nowhere") }, /^the file of --datastore-cafile cannot be read: ENOENT.*nowhere/],
    [{ ca: path("text") }, /^the file of --datastore-cafile, ".*text", holds no certificate in PEM$/],
    [{ ...files, key: path("text") }, /^the file of --datastore-keyfile, ".*text", holds no private key in PEM$/],
    [{ ...files, cert: files.key }, /^the file of --datastore-certfile, .* holds no certificate in PEM$/],
    [{ ...files, key: path("other.key") }, /^the files of --datastore-cafile, -certfile and -keyfile cannot be used: /],
  ];
  for (const [wrong, message] of cases) assert.throws(() => readTlsFiles(wrong), refused(message));
});
