import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** A directory that is gone after the test, also when it fails. */
export function temporaryDirectory(test: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "k3ts-test-"));
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
