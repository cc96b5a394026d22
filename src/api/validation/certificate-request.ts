import { createPublicKey, type KeyObject, verify } from "node:crypto";

const pemBlock = /-----BEGIN ([^-\n]*)-----\r?\n([\s\S]*?)-----END \1-----/g;

export interface PemBlock {
  readonly type: string;
  /** Lines of "name: value" before the content. */
  readonly headers: boolean;
  readonly bytes: Buffer;
}

export function pemBlocks(text: string): PemBlock[] {
  return [...text.matchAll(pemBlock)].map(([, type = "", body = ""]) => {
    const split = /^[^\n]*:[\s\S]*?\r?\n\r?\n/.exec(body);
    return { type, headers: split !== null, bytes: Buffer.from(body.slice(split?.[0].length ?? 0), "base64") };
  });
}

/** One element of DER: all of it, and what is inside. */
interface Element {
  readonly tag: number;
  readonly whole: Buffer;
  readonly content: Buffer;
}

class MalformedError extends Error {}

/** The elements that follow each other in `bytes`. */
function elements(bytes: Buffer): Element[] {
  const list: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at + 1] ?? 0;
    const long = first < 0x80 ? 0 : first & 0x7f;
    if (long > 4) throw new MalformedError();
    const length = long === 0 ? first : bytes.readUIntBE(at + 2, long);
    const start = at + 2 + long;
    if (start + length > bytes.length) throw new MalformedError();
    const content = bytes.subarray(start, start + length);
    list.push({ tag: bytes[at]!, whole: bytes.subarray(at, start + length), content });
    at = start + length;
  }
  return list;
}

/** Hashes by the algorithm's object identifier; Ed25519 takes none. */
const hashes: Readonly<Record<string, string | null>> = {
  "2a864886f70d010105": "sha1",
  "2a864886f70d01010b": "sha256",
  "2a864886f70d01010c": "sha384",
  "2a864886f70d01010d": "sha512",
  "2a8648ce3d0401": "sha1",
  "2a8648ce3d040302": "sha256",
  "2a8648ce3d040303": "sha384",
  "2a8648ce3d040304": "sha512",
  "2b6570": null,
};

const verificationFailure: Readonly<Record<string, string>> = {
  rsa: "crypto/rsa: verification error",
  ec: "x509: ECDSA verification failure",
  ed25519: "x509: Ed25519 verification failure",
};

/** What keeps a PEM text from being a certificate request that its own key has signed. */
export function requestProblem(text: string): string | undefined {
  const block = pemBlocks(text)[0];
  if (block?.type !== "CERTIFICATE REQUEST") return "PEM block type must be CERTIFICATE REQUEST";
  let key: KeyObject;
  let parts: Element[];
  try {
    parts = elements(elements(block.bytes)[0]?.content ?? Buffer.alloc(0));
    // Version, subject, key and attributes.
    const [, , spki] = elements(parts[0]!.content);
    key = createPublicKey({ key: spki!.whole, format: "der", type: "spki" });
  } catch {
    return "asn1: structure error: tags don't match";
  }
  const [info, algorithm, signature] = parts;
  if (!info || !algorithm || !signature) return "asn1: syntax error: sequence truncated";
  const hash = hashes[elements(algorithm.content)[0]?.content.toString("hex") ?? ""];
  if (hash === undefined) return "x509: cannot verify signature: algorithm unimplemented";
  // The first byte of a bit string counts its unused bits.
  if (verify(hash, info.whole, key, signature.content.subarray(1))) return undefined;
  return verificationFailure[key.asymmetricKeyType ?? ""] ?? "x509: signature verification failed";
}
