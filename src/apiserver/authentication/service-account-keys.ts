import { createHash, createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { readKeyBlocks } from "./pem.ts";

/** A key that verifies tokens, with the name that tokens carry for it. */
export interface VerifyingKey {
  /** base64url of the SHA-256 of the public key's DER, as Kubernetes names keys. */
  readonly kid: string;
  readonly algorithm: "RS256" | "ES256" | "ES384" | "ES512";
  readonly publicKey: KeyObject;
}

/** The keys of service account tokens: the first one signs, all of them verify. */
export interface ServiceAccountKeys {
  readonly signing: VerifyingKey & { readonly privateKey: KeyObject };
  readonly verifying: readonly VerifyingKey[];
}

/** Reads a PEM file of private (and older public) keys. Throws when the first one is no private key. */
export function readServiceAccountKeys(pem: string | Buffer): ServiceAccountKeys {
  const blocks = readKeyBlocks(pem);
  const first = blocks[0];
  if (!first?.includes("PRIVATE KEY")) {
    throw new Error("Reading the service account key: the first key of the file must be a private key");
  }
  const privateKey = createPrivateKey(first);
  const verifying = blocks.map((block) => describe(createPublicKey(block)));
  return { signing: { ...verifying[0]!, privateKey }, verifying };
}

function describe(publicKey: KeyObject): VerifyingKey {
  const der = publicKey.export({ type: "spki", format: "der" });
  const kid = createHash("sha256").update(der).digest("base64url");
  if (publicKey.asymmetricKeyType === "rsa") return { kid, algorithm: "RS256", publicKey };
  const curves: Record<string, VerifyingKey["algorithm"]> = {
    prime256v1: "ES256",
    secp384r1: "ES384",
    secp521r1: "ES512",
  };
  const algorithm = curves[publicKey.asymmetricKeyDetails?.namedCurve ?? ""];
  if (!algorithm) {
    throw new Error(`Reading the service account key: key type ${publicKey.asymmetricKeyType} is not supported`);
  }
  return { kid, algorithm, publicKey };
}

/** The body of /openid/v1/jwks. */
export function jsonWebKeySet(keys: ServiceAccountKeys): { keys: object[] } {
  return {
    keys: keys.verifying.map(({ kid, algorithm, publicKey }) => ({
      use: "sig",
      ...publicKey.export({ format: "jwk" }),
      kid,
      alg: algorithm,
    })),
  };
}

/** The body of /.well-known/openid-configuration. */
export function openIdConfiguration(issuer: string, keys: ServiceAccountKeys, jwksUri: string): object {
  return {
    issuer,
    jwks_uri: jwksUri,
    response_types_supported: ["id_token"],
    subject_types_supported: ["public"],
    id_token_signing_alg_values_supported: [...new Set(keys.verifying.map((key) => key.algorithm))],
  };
}
