/**
 * Text of a database or its client, without the password that may stand in it: as it is, or as an address or a header
 * carries it.
 */
export function redact(text: string, password: string): string {
  if (password === "") return text;
  const forms = [password, encodeURIComponent(password), Buffer.from(password).toString("base64")];
  return forms.reduce((rest, form) => rest.replaceAll(form, "…"), text);
}
