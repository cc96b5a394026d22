/** Values of the Warning header (RFC 7234), within the bounds that Kubernetes sets. */

/** Beyond this many characters in all of them, each is cut. */
const allMaxLength = 4096;
const cutLength = 256;

/** One value a text, each text once. Texts that cannot stand in a header are left out. */
export function warningHeader(texts: readonly string[]): string[] {
  const sayable = [...new Set(texts)].filter((text) => text !== "" && !/\p{Cc}/u.test(text));
  const characters = sayable.map((text) => [...text]);
  const length = characters.reduce((sum, text) => sum + text.length, 0);
  if (length <= allMaxLength) return sayable.map(headerValue);
  const values: string[] = [];
  let written = 0;
  for (const text of characters) {
    if (written >= allMaxLength) break;
    const cut = text.slice(0, cutLength);
    written += cut.length;
    values.push(headerValue(cut.join("")));
  }
  return values;
}

/** 299 is "miscellaneous persistent warning"; the agent is "-". Headers are bytes: other letters go as UTF-8. */
function headerValue(text: string): string {
  return `299 - "${Buffer.from(text.replace(/["\\]/g, "\\$&")).toString("latin1")}"`;
}
