import { checkStore } from "./checker/check-store.ts";

checkStore("embedded-etcd");
