import assert from "node:assert/strict";
import { test } from "node:test";
import { Doorbell, listeners, sleepStatement } from "../../../../src/store/mysql/doorbell.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

const process = (id: number, database: string | null, statement: string | null) =>
  [id, "user", "host", database, "Query", 1, "User sleep", statement] as const;

test("whoever wrote wakes the listeners of other servers in its database, and nothing else", () => {
  const rows = [
    process(1, "kubernetes", sleepStatement("other", 7, 5).slice(0, 100)),
    process(2, "kubernetes", sleepStatement("mine", 7, 5)),
    process(3, "elsewhere", sleepStatement("other", 7, 5)),
    process(4, "kubernetes", "SELECT SLEEP(5)"),
    process(5, null, null),
  ];
  assert.deepEqual(listeners(rows, "kubernetes", "mine"), [1]);
});

test("bells that are rung while one rings are one more, and one that cannot be rung harms nobody", async () => {
  const clock = new FakeClock();
  const asked: string[] = [];
  const doorbell = new Doorbell({
    clock,
    database: "kubernetes",
    own: "mine",
    connection: async () => ({
      close: () => {},
      query: async (text) => {
        asked.push(text);
        if (text.startsWith("KILL")) throw new Error("no such thread");
        return [
          process(1, "kubernetes", sleepStatement("a", 1, 5)),
          process(2, "kubernetes", sleepStatement("b", 1, 5)),
        ];
      },
    }),
  });
  for (let index = 0; index < 5; index++) doorbell.ring();
  await clock.advance(100);
  const once = ["SHOW PROCESSLIST", "KILL QUERY 1", "KILL QUERY 2"];
  assert.deepEqual(asked, [...once, ...once]);
});

test("who finds nobody looks less often, though at once after a pause, and as often as before when there is somebody", async () => {
  const clock = new FakeClock();
  let looks = 0;
  let others: (readonly unknown[])[] = [];
  const doorbell = new Doorbell({
    clock,
    database: "kubernetes",
    own: "mine",
    connection: async () => ({
      close: () => {},
      query: async (text) => {
        if (text.startsWith("KILL")) return [];
        looks++;
        return others;
      },
    }),
  });
  const looksIn = async (ms: number) => {
    const before = looks;
    for (let passed = 0; passed < ms; passed += 10) {
      doorbell.ring();
      await clock.advance(10);
    }
    return looks - before;
  };
  assert.equal(await looksIn(200), 20);
  assert.ok((await looksIn(1000)) <= 11);
  await clock.advance(1000);
  const before = looks;
  doorbell.ring();
  await clock.advance(0);
  assert.equal(looks, before + 1);
  others = [process(1, "kubernetes", sleepStatement("other", 7, 5))];
  await clock.advance(1000);
  assert.equal(await looksIn(1000), 100);
});

test("one that is closed connects no more: not for what was rung before, nor for what is rung after", async () => {
  const clock = new FakeClock();
  const closed: boolean[] = [];
  let connections = 0;
  const doorbell = new Doorbell({
    clock,
    database: "kubernetes",
    own: "mine",
    connection: async () => {
      const number = connections++;
      closed.push(false);
      return {
        query: async () => [],
        close: () => {
          closed[number] = true;
        },
      };
    },
  });
  doorbell.ring();
  doorbell.ring();
  doorbell.close();
  await clock.advance(100);
  doorbell.ring();
  await clock.advance(100);
  assert.deepEqual(closed, [true]);
});
