/** The part of a document that a program makes: between two marks, which people leave alone. */
const begin = (name: string) => `<!-- ${name}: made by npm run bench -->`;
const end = (name: string) => `<!-- end of ${name} -->`;

/** The text with what stands between a section's marks replaced; a section that is not there is put at the end. */
export function replaceSection(document: string, name: string, text: string): string {
  const section = `${begin(name)}\n\n${text.trim()}\n\n${end(name)}`;
  const from = document.indexOf(begin(name));
  if (from < 0) return `${document.trimEnd()}\n\n${section}\n`;
  const to = document.indexOf(end(name), from);
  if (to < 0) throw new Error(`the document has "${begin(name)}" without "${end(name)}" behind it; put it there`);
  return document.slice(0, from) + section + document.slice(to + end(name).length);
}
