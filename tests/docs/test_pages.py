"""usage: test_pages.py ROOT; the pages of the documentation by themselves.

Links lead somewhere, examples fit the API descriptions: a fenced block `json NAME` is such a value of
docs/openapi.json, `json participant/NAME` of docs/openapi-participant.json."""

import json
import os
import re
import sys
import unittest

import schema

ROOT = None
DOCUMENTS = {"": "docs/openapi.json", "participant/": "docs/openapi-participant.json"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def pages():
    found = ["README.md"]
    found += sorted("docs/" + n for n in os.listdir(os.path.join(ROOT, "docs")) if n.endswith(".md"))
    return found


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M))


def anchors(text):
    """What a heading is called in a link."""
    heads = re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


class Pages(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for page in pages():
            for target in re.findall(r"\]\(([^)\s]+)\)", without_code(read(page))):
                if re.match(r"https?://", target):
                    continue
                with self.subTest(page=page, target=target):
                    path, _, anchor = target.partition("#")
                    path = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path \
                        else page
                    self.assertTrue(os.path.exists(os.path.join(ROOT, path)))
                    if anchor:
                        self.assertIn(anchor, anchors(read(path)))

    def test_json_is_json(self):
        seen = 0
        for page in pages():
            for name, body in re.findall(r"^```json ?(\S*)\n(.*?)^```$", read(page), re.S | re.M):
                with self.subTest(page=page, body=body[:60]):
                    value = json.loads(body)
                    if not name:
                        continue
                    seen += 1
                    prefix, _, kind = name.rpartition("/")
                    document = json.loads(read(DOCUMENTS[prefix + "/" if prefix else ""]))
                    inner = document["components"]["schemas"][kind]
                    self.assertEqual(list(schema.faults(document, inner, value)), [])
                    extra = set(schema.undocumented(document, inner, value)) - {"known"}
                    self.assertEqual(extra, set())
        self.assertGreater(seen, 10)

    def test_problem_types_are_listed(self):
        listed = set()
        for row in re.findall(r"^\| (`[^|]*) \| \d{3} \|", read("docs/api.md"), re.M):
            listed.update(re.findall(r"`([a-z-]+)`", row))
        described = set()
        for path in DOCUMENTS.values():
            kinds = json.loads(read(path))["components"]["schemas"]["Problem"]
            described.update(k.rpartition(":")[2] for k in kinds["properties"]["type"]["enum"])
        # Never seen by a client that this version can have.
        self.assertEqual(listed, described - {"error", "not-supported"})


if __name__ == "__main__":
    ROOT = os.path.abspath(sys.argv[1])
    unittest.main(argv=sys.argv[:1])
