import assert from "node:assert/strict";
import { test } from "node:test";
import { replaceSection } from "../../../tools/document-section.ts";

test("a section is put at the end once, and replaced where it stands after that", () => {
  const first = replaceSection("# Page\n\nWords.\n", "pods", "fast");
  assert.match(first, /^# Page\n\nWords\.\n\n<!-- pods: .* -->\n\nfast\n\n<!-- end of pods -->\n$/);
  const two = replaceSection(first, "idle", "little");
  const again = replaceSection(two, "pods", "faster\n");
  assert.equal(again, two.replace("fast", "faster"));
});

test("a section whose end somebody took away is not guessed", () => {
  const broken = replaceSection("", "pods", "fast").replace("<!-- end of pods -->", "");
  assert.throws(() => replaceSection(broken, "pods", "faster"), /without "<!-- end of pods -->"/);
});
