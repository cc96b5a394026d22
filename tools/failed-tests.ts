/** A reporter of Node's test runner: one JSON line for each test that failed and holds no failed test itself. */
import { relative } from "node:path";

/** A test that failed; `file` is the one that the runner was told to run, relative to where it was started. */
export interface FailedTest {
  file: string;
  name: string;
}

/** The part of the runner's events that counts here; `file` is where the test's function was called. */
interface TestEvent {
  type: string;
  data: {
    name?: string;
    file?: string;
    entryFile?: string;
    todo?: unknown;
    details?: { error?: { failureType?: string } };
  };
}

export default async function* failedTests(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    const file = data.entryFile ?? data.file;
    if (type !== "test:fail" || data.todo || !file || !data.name) continue;
    if (data.details?.error?.failureType === "subtestsFailed") continue;
    const failed: FailedTest = { file: relative(process.cwd(), file), name: data.name };
    yield `${JSON.stringify(failed)}\n`;
  }
}
