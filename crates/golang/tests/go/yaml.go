//go:build yaml

package main

import (
	"encoding/hex"

	"sigs.k8s.io/yaml"
)

func init() {
	text := func(text []byte, err error) string { return answer(string(text), err) }
	more["yaml read"] = func(in string) string { return text(yaml.YAMLToJSON([]byte(in))) }
	more["yaml read strictly"] = func(in string) string { return text(yaml.YAMLToJSONStrict([]byte(in))) }
	more["yaml read bytes"] = func(in string) string {
		bytes, err := hex.DecodeString(in)
		if err != nil {
			panic(err)
		}
		return text(yaml.YAMLToJSONStrict(bytes))
	}
	more["yaml write"] = func(in string) string { return text(yaml.JSONToYAML([]byte(in))) }
}
