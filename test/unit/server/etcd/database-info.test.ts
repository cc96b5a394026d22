import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeDatabaseInfo, encodeDatabaseInfo } from "../../../../src/server/etcd/database-info.ts";

describe("what /db/info tells of the members", () => {
  const members = [
    {
      id: 14_349_187_674_454_606_322n,
      name: "one-aaaaaaaa",
      peerUrls: ["https://10.0.0.1:2380"],
      clientUrls: ["https://10.0.0.1:2379"],
      isLearner: false,
    },
    { id: 7n, name: "", peerUrls: ["https://10.0.0.2:2380"], clientUrls: [], isLearner: true },
  ];

  test("is what Go writes of etcd's members: identifiers of 64 bits as numbers, empty values left out", () => {
    assert.equal(
      encodeDatabaseInfo(members),
      '{"members":[{"ID":14349187674454606322,"name":"one-aaaaaaaa","peerURLs":["https://10.0.0.1:2380"],' +
        '"clientURLs":["https://10.0.0.1:2379"]},{"ID":7,"peerURLs":["https://10.0.0.2:2380"],"isLearner":true}]}',
    );
  });

  test("is read again without loss", () => {
    assert.deepEqual(decodeDatabaseInfo(encodeDatabaseInfo(members)), members);
  });
});
