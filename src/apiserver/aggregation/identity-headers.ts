import type { OutgoingHttpHeaders } from "node:http";
import type { UserInfo } from "../request.ts";

/** What header names may hold besides letters and digits, but for "%", which escapes. */
const plain = /^[A-Za-z0-9!#$&'*+\-.^_`|~]$/;

function escapeKey(key: string): string {
  return [...Buffer.from(key)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return plain.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
}

/** Says to a server that trusts this one's client certificate who asks. */
export function identityHeaders({ name, uid, groups, extra = {} }: UserInfo): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { "X-Remote-User": name };
  if (uid) headers["X-Remote-Uid"] = uid;
  if (groups.length > 0) headers["X-Remote-Group"] = [...groups];
  for (const [key, values] of Object.entries(extra)) headers[`X-Remote-Extra-${escapeKey(key)}`] = [...values];
  return headers;
}
