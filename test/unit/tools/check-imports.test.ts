import assert from "node:assert/strict";
import { test } from "node:test";
import { findViolations, readImports, readRules } from "../../../tools/check-imports.ts";

const table = `
| room | what lives there | may import |
| --- | --- | --- |
| \`main.ts\`, \`commands/\` | the command line | everything |
| \`machinery/\` | pure | nothing of ours |
| \`client/\` | the client | machinery |
| \`server/\` | puts together | the above |
| \`viewer/\` | shows | machinery, client (types) |
`;

function check(file: string, text: string): string[] {
  return findViolations(new Map([[file, text]]), readRules(table));
}

test("the command line's rooms may import everything", () => {
  assert.deepEqual(check("src/main.ts", 'import { a } from "./server/a.ts";'), []);
  assert.deepEqual(check("src/commands/b.ts", 'const { a } = await import("../viewer/a.ts");'), []);
});

test("an import against the arrows is named with the file, the target and what is allowed", () => {
  const [line, ...rest] = check("src/client/a.ts", 'import {\n  x,\n  y,\n} from "../server/b.ts";');
  assert.deepEqual(rest, []);
  assert.match(line!, /^src\/client\/a\.ts: imports "\.\.\/server\/b\.ts" from server; client may import: machinery$/);
});

test("dynamic imports, re-exports and imports for effect are held to the same rules", () => {
  for (const text of [
    'await import("../client/a.ts")',
    'export { a } from "../client/a.ts";',
    'import "../client/a.ts";',
  ])
    assert.equal(check("src/machinery/a.ts", text).length, 1, text);
});

test("where only types are allowed, a type import passes and a value import does not", () => {
  assert.deepEqual(check("src/viewer/a.ts", 'import type { A } from "../client/a.ts";'), []);
  assert.equal(check("src/viewer/a.ts", 'import { type A } from "../client/a.ts";').length, 1);
});

test('"the above" means the rooms before it, but not the command line', () => {
  assert.deepEqual(check("src/server/a.ts", 'import { a } from "../client/a.ts";'), []);
  assert.equal(check("src/server/a.ts", 'import { a } from "../commands/a.ts";').length, 1);
  assert.equal(check("src/server/a.ts", 'import { a } from "../viewer/a.ts";').length, 1);
});

test("a room that the table does not have is a violation", () => {
  assert.match(check("src/attic/a.ts", "").join(), /add a row for "attic"/);
});

test("imports of packages and words inside texts are not ours", () => {
  assert.deepEqual(
    readImports('import { x } from "fastify";\nconst text = \'import { a } from "../client/a.ts"\';'),
    [],
  );
});
