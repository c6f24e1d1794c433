// Says what Go says: reads lines of JSON, each a list of an operation and its inputs, and answers each with a line that holds a JSON string.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

func answer(text string, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return text
}

func float(bits string) float64 {
	number, err := strconv.ParseUint(bits, 10, 64)
	if err != nil {
		panic(err)
	}
	return math.Float64frombits(number)
}

func marshal(value any, indent string) string {
	text, err := json.Marshal(value)
	if indent != "" {
		text, err = json.MarshalIndent(value, "", indent)
	}
	return answer(string(text), err)
}

func decoded(text string) any {
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		panic(err)
	}
	return value
}

// The characters that are of a kind, as ranges.
func ranges(is func(rune) bool) string {
	var ranges []string
	start := rune(-1)
	for r := rune(0); r <= 0x110000; r++ {
		shown := r < 0x110000 && is(r)
		if shown && start < 0 {
			start = r
		} else if !shown && start >= 0 {
			ranges = append(ranges, fmt.Sprintf("%x-%x", start, r-1))
			start = -1
		}
	}
	return strings.Join(ranges, " ")
}

func flags(args []string) string {
	var out bytes.Buffer
	set := flag.NewFlagSet("p", flag.ContinueOnError)
	set.SetOutput(&out)
	upgrade := set.Bool("upgrade", false, "Upgrade from host-local")
	version := set.Bool("v", false, "Display version")
	if err := set.Parse(args); err == flag.ErrHelp {
		return "help: " + out.String()
	} else if err != nil {
		return "error: " + err.Error()
	}
	return fmt.Sprint(*upgrade, " ", *version)
}

func columns(text string) string {
	var out bytes.Buffer
	writer := tabwriter.NewWriter(&out, 5, 1, 3, ' ', 0)
	io.WriteString(writer, text)
	writer.Flush()
	return out.String()
}

func drawn(seed, bound string) string {
	number, _ := strconv.ParseInt(seed, 10, 64)
	below, _ := new(big.Int).SetString(bound, 10)
	source := rand.New(rand.NewSource(number))
	var all []string
	for range 20 {
		all = append(all, strconv.FormatUint(source.Uint64(), 10))
		all = append(all, strconv.FormatUint(uint64(source.Uint32()), 10))
		all = append(all, new(big.Int).Rand(source, below).String())
	}
	return strings.Join(all, " ")
}

// Of operations that need modules beside the standard library.
var more = map[string]func(string) string{}

func does(operation string, in []string) string {
	switch operation {
	case "quote":
		return strconv.Quote(in[0])
	case "quote rune":
		return strconv.QuoteRune([]rune(in[0])[0])
	case "printed":
		return ranges(strconv.IsPrint)
	case "letters":
		return ranges(unicode.IsLetter)
	case "digits":
		return ranges(unicode.IsDigit)
	case "bool":
		value, err := strconv.ParseBool(in[0])
		if err != nil {
			return "none"
		}
		return strconv.FormatBool(value)
	case "general":
		return fmt.Sprint(float(in[0]))
	case "general 32":
		return strconv.FormatFloat(float(in[0]), 'g', -1, 32)
	case "significant":
		return fmt.Sprintf("%.5g", float(in[0]))
	case "json number":
		return marshal(float(in[0]), "")
	case "duration":
		value, err := time.ParseDuration(in[0])
		return answer(strconv.FormatInt(int64(value), 10), err)
	case "duration text":
		nanos, _ := strconv.ParseInt(in[0], 10, 64)
		return time.Duration(nanos).String()
	case "prefix":
		_, err := netip.ParsePrefix(in[0])
		return answer("", err)
	case "address":
		_, err := netip.ParseAddr(in[0])
		return answer("", err)
	case "json check":
		var raw json.RawMessage
		return answer("", json.Unmarshal([]byte(in[0]), &raw))
	case "json":
		return marshal(decoded(in[0]), "")
	case "json indented":
		return marshal(decoded(in[0]), "   ")
	case "flags":
		return flags(in)
	case "columns":
		return columns(in[0])
	case "random":
		return drawn(in[0], in[1])
	}
	return more[operation](in[0])
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<26)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var words []string
		if err := json.Unmarshal(in.Bytes(), &words); err != nil {
			panic(err)
		}
		line, err := json.Marshal(does(words[0], words[1:]))
		if err != nil {
			panic(err)
		}
		out.Write(append(line, '\n'))
	}
}
