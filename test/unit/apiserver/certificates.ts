import { generateKeyPairSync } from "node:crypto";

/** A key and its certificate, PEM. */
export interface TestCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** Makes an authority (no `issuer`) or a leaf for tests. Times are milliseconds since the epoch. */
export async function makeCertificate(options: {
  readonly subject: string;
  readonly issuer?: TestCertificate;
  readonly dnsNames?: readonly string[];
  readonly usage?: "client" | "server";
  readonly fromMs?: number;
  readonly toMs?: number;
}): Promise<TestCertificate> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const pair = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const key = pair.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  const importPrivate = (pem: string) =>
    crypto.subtle.importKey("pkcs8", x509.PemConverter.decodeFirst(pem), algorithm, true, ["sign"]);
  const publicKey = await crypto.subtle.importKey(
    "spki",
    pair.publicKey.export({ type: "spki", format: "der" }),
    algorithm,
    true,
    ["verify"],
  );
  const certificate = await x509.X509CertificateGenerator.create({
    subject: options.subject,
    issuer: options.issuer ? new x509.X509Certificate(options.issuer.certificate).subject : options.subject,
    notBefore: new Date(options.fromMs ?? Date.parse("2020-01-01T00:00:00Z")),
    notAfter: new Date(options.toMs ?? Date.parse("2060-01-01T00:00:00Z")),
    publicKey,
    signingKey: await importPrivate(options.issuer?.key ?? key),
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(!options.issuer, undefined, true),
      ...(options.dnsNames
        ? [new x509.SubjectAlternativeNameExtension(options.dnsNames.map((value) => ({ type: "dns" as const, value })))]
        : []),
      ...(options.usage
        ? [
            new x509.ExtendedKeyUsageExtension([
              options.usage === "client" ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth,
            ]),
          ]
        : []),
    ],
  });
  return { certificate: certificate.toString("pem"), key };
}
