import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Gathering } from "../../../../src/apiserver/storage/gathering.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

describe("Gathering", () => {
  it("lets all who came within the first one's window go at once, and those who come later in the next", async () => {
    const clock = new FakeClock();
    const gathering = new Gathering(clock);
    const gone: string[] = [];
    const wait = (name: string, who: string) => gathering.wait(name, 100).then(() => gone.push(who));
    void wait("leases", "first");
    await clock.advance(60);
    void wait("leases", "second");
    void wait("others", "elsewhere");
    await clock.advance(39);
    assert.deepEqual(gone, []);
    await clock.advance(1);
    assert.deepEqual(gone, ["first", "second"]);
    void wait("leases", "third");
    await clock.advance(60);
    assert.deepEqual(gone, ["first", "second", "elsewhere"]);
    await clock.advance(40);
    assert.deepEqual(gone, ["first", "second", "elsewhere", "third"]);
  });
});
