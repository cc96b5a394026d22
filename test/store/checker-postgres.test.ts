import { checkStore } from "./checker/check-store.ts";

checkStore("postgres");
