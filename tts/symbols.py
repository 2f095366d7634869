"""The symbols of phones that espeak-ng writes in 34 languages, with their marks of stress, length and tone.

Collected from CLDR's names of territories, languages and currencies, numbers, and nano's English texts: all
that occur at least three times. The order is part of every trained voice.
"""

SYMBOLS = tuple(
    """
a ˈa ˌa a- a.ː ˈa.ː a2 ˈa2 ˌa2 a5 ˈa5 ˌa5 ˈa6 ˈa7 ai ˈai ˌai ai2 ˈai2 ˌai2 ai5 ˈai5 ˌai5 aiɜ ˈaiɜ au ˈau aɜ ˈaɜ
ˌaɜ aɪ ˈaɪ ˌaɪ ˈaɪ4 aɪə ˈaɪə ˈaɪ̃ ˌaɪ̃ aʊ ˈaʊ ˌaʊ ˈaʊɜ aː ˈaː ˌaː ˈaː2 ˌaː2 ˈaː4 ˈaː5 ˈaː6 ˈaːɜ ˈaːɪ ã ˈã ˌã
b bʰ bʲ bː c cʰ cʲ cː d dz dʑ dʒ dʒʲ dʒː dʰ dʰː dʲ dʲʲ dː dˤ e ˈe ˌe e- ˈe- ˈe-2 ˈe-5 ˈe-6 e2 ˈe2 ˌe2 ˈe4 e5 ˈe5
ˌe5 ˈe6 ˈe7 ea ˈea ei ˈei ˌei ˈei2 ei5 ˈei5 ˌei5 eiɜ ˈeiɜ eo ˈeo eu ˈeu ˈey eə ˈeə ˌeə eɜ ˈeɜ ˌeɜ eɪ ˈeɪ ˌeɪ eʊ
ˈeʊ ˌeʊ eː ˈeː ˌeː ˈeː2 ẽː ˈẽː ˌẽː e̞ ˈe̞ ˌe̞ e̞e̞ f fʲ h i ˈi ˌi i.5 ˈi.5 i.ɜ ˈi.ɜ ˌi.ɜ i2 ˈi2 ˌi2 ˈi4 i5
ˈi5 ˌi5 ˈi6 ie ˈie ˌie iou2 ˈiou2 ˌiou2 iou5 ˈiou5 ˌiou5 ˈiouɜ ˈiu iy ˈiɑ2 iɑ5 ˈiɑ5 ˈiɑɜ iə ˈiə ˌiə ˈiɛ ˈiɛ2
ˈiɛ4 ˈiɛ5 ˈiɛ6 ˈiɛɜ iɜ ˈiɜ ˌiɜ iɪ ˈiɪ iʊ ˈiʊ iː ˈiː ˌiː ĩ ˈĩ ˌĩ i̪5 ˈi̪5 ˌi̪5 ˈi̪ɜ j ja ˈja ju ˈju k kh kʰ kʲ
kː l lʲʲ l̩ m mʲ mʲʲ n nʲ nʲʲ n̩ ˈn̩ o ˈo ˌo ˈo-2 o-5 ˈo-5 ˌo-5 o-ɜ ˈo-ɜ ˌo-ɜ ˌo1 o2 ˈo2 ˌo2 ˈo4 o5 ˈo5 ˌo5 ˈo6
oi ˌoi ˈonɡ2 onɡ5 ˈonɡ5 ˈonɡɜ ˈou ˈou5 oɜ ˈoɜ ˌoɜ oɪ ˈoɪ ˌoɪ oʊ ˈoʊ ˌoʊ oː ˈoː ˌoː õ ˈõ ˌõ o̞ ˈo̞ ˌo̞ o̞o̞
ˈo̞o̞ ˌo̞o̞ p p- pf ph pʰ pʲ pː q q- r r. rʲ r̝ r̝̊ r̩ ˈr̩ s s- s. ss sx sʲ s̪ s̪- t t- th ts ts. ts.h tsh tsː
tɕ tɕh tʃ tʃʰ tʃʲ tʃː tʰ tʰː tʲ tʲʲ tː t̪ u ˈu ˌu u" ˈu" ˈu1 u2 ˈu2 ˌu2 u5 ˈu5 ˌu5 ˈua5 uei5 ˈuei5 ui ˈui ˈuo
ˌuo uo2 ˈuo2 uo5 ˈuo5 uoɜ ˈuoɜ ˈuə ˌuə4 ˈuə5 ˈuə6 ˈuəɜ uɜ ˈuɜ ˌuɜ uɪ ˈuɪ uː ˈuː ˌuː uː2 ˈuː2 ˌuː2 uː5 uːɜ ˈuːɜ
ˌuːɜ ũ ˈũ ˌũ v vʲ vʲʲ w x y ˈy ˌy y- ˈy2 ˈy5 ˈy6 ˌyi yiɜ ˈyæɜ ˈyə ˈyə2 ˈyə6 ˈyə7 ˈyɛ5 ˈyɜ yː ˈyː ˌyː z ä ˈä
ˌä ää ˈää ˌää æ ˈæ ˌæ ˈæi ˌæi ˈææ ç çʲ ð ðʲ ø ˈø ˌø øː ˈøː ˌøː ħ ŋ ŋː œ ˈœ ˌœ œy ˈœy ˌœy œ̃ ˈœ̃ ũ ˈũ ɐ ˈɐ ˌɐ ɐ̃
ˈɐ̃ ˌɐ̃ ɐ̃ʊ̃ ˈɐ̃ʊ̃ ɑ ˈɑ ˌɑ ˈɑ1 ɑ2 ˈɑ2 ˌɑ2 ɑ5 ˈɑ5 ˌɑ5 ɑu2 ˈɑu2 ɑu5 ˈɑu5 ɑuɜ ˈɑuɜ ˈɑɜ ɑː ˈɑː ˌɑː ɑːɹ ˈɑːɹ ˌɑːɹ ɑ̃
ˈɑ̃ ɒ ˈɒ ˌɒ ɔ ˈɔ ˌɔ ɔa ˈɔa ɔø ˈɔø ˌɔø ˈɔɜ ˈɔɪ ɔː ˈɔː ˌɔː ɔːɹ ˈɔːɹ ˌɔːɹ ɔ̃ ˈɔ̃ ˌɔ̃ ɕ ɖ ɖɖ ɖʰ ɗ ə ˈə ˌə ə- ˈə1 ə2
ˈə2 ˈə5 ˈə6 əl ər2 ˈər2 ər5 ˈər5 ˌər5 əɜ ˈəɜ ˈəɪ əʊ ˈəʊ ˌəʊ ˈəː əː2 ˈəːɜ ɚ ɛ ˈɛ ˌɛ ɛɜ ˈɛɜ ˌɛɜ ɛɪ ˈɛɪ ˌɛɪ ɛɹ ˈɛɹ
ˌɛɹ ˈɛʊ ɛː ˈɛː ˌɛː ɛ̃ ˈɛ̃ ɜ ɜː ˈɜː ˌɜː ɟ ɟʰ ɟː ɡ ɡʰ ɡʲ ɡː ɣ ɨ ˈɨ ˌɨ ɪ ˈɪ ˌɪ ɪ^ ɪɹ ˈɪɹ ɪː ˈɪː ˌɪː ɫ ɭ ɭʲ ɯ ˈɯ ˌɯ
ɯᵝ ˈɯᵝ ˌɯᵝ ɯᵝɯᵝ ˈɯᵝɯᵝ ˌɯᵝɯᵝ ɲ ɲʲ ɳ ɴ ɵ ˈɵ ˌɵ ɸ ɹ ɻ ɽ ɾ ɾʲʲ ʁ ʂ ʃ ʈ ʈʈ ʈʰ ʈʰʈʰ ʉ ˈʉ ˌʉ ʉʲ ˌʉʲ ʊ ˈʊ ˌʊ ʊɐ ˈʊɐ ʊə
ˈʊə ˌʊə ʊɹ ˈʊɹ ˌʊɹ ʋ ʌ ˈʌ ˌʌ ʌʊ ˈʌʊ ˌʌʊ ʌ̃ ˈʌ̃ ˌʌ̃ ʎ ʏ ˈʏ ˌʏ ʐ ʑ ʒ ʔ ʕ ʕʕ ˈʕʕ ʝ ʰχ β θ χ ᵻ
""".split()
)
