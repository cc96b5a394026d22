import { createPublicKey, sign } from "node:crypto";

/**
 * A PKCS#10 request with an empty subject, as K3s' agents send it: the server takes only the public key and chooses the
 * names itself. Written out here (RFC 2986) because an X.509 library would cost an agent 17 MB for these 200 bytes.
 */

function der(tag: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length = body.length;
  const header = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...header]), body]);
}

const sequence = 0x30;
const integer = 0x02;
const bitString = 0x03;
const attributes = 0xa0;
/** 1.2.840.10045.4.3.2 */
const ecdsaWithSha256 = Buffer.from("06082a8648ce3d040302", "hex");

/** @param privateKey ECDSA P-256, PEM  @returns the request, DER */
export function certificateRequest(privateKey: string): Buffer {
  const publicKey = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const info = der(sequence, der(integer, Buffer.from([0])), der(sequence), publicKey, der(attributes));
  const signature = sign("sha256", info, privateKey);
  return der(sequence, info, der(sequence, ecdsaWithSha256), der(bitString, Buffer.from([0]), signature));
}
