package dynamo

// shards is the number of partition keys of the favorites. Changing it would move most items.
const shards = 16

// ShardOf returns the shard of a person, from 0 to 15: 32-bit FNV-1a, folded to 4 bits by XOR because its lowest bits
// depend only on the lowest bits of the text. http://www.isthe.com/chongo/tech/comp/fnv/index.html#xor-fold
func ShardOf(person string) int {
	h := uint32(2166136261)
	for i := range len(person) {
		h = (h ^ uint32(person[i])) * 16777619
	}
	h ^= h >> 16
	h ^= h >> 8
	h ^= h >> 4
	return int(h % shards)
}
