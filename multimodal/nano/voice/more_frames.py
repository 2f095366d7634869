"""More sentence frames of the normalisation data, for training alone: rows of the tables of `written_frames.py`.

In many of them what tells the reading stands in the words before the form, often several words before it.
"""

MORE_FRAMES = {
    "four digits": """
        year: in the year {x} | the year {x} was a good one | it was built in {x} | the war ended in {x}
            | he died in {x} | {name} came to {city} in {x} | back in {x} {mid} {animals} were rare
            | by {x} all was new | before {x} {country} was poor | after {x} nobody {doing} | the summer of {x}
            | the {country} flag of {x} | founded {x} | in early {x} | the spring of {x} was {mid}
            | the law of {x} | a {language} song from {x} | made in {country} in {x} | she was born in {x}
            | the map shows {city} in {x} | it dates from {x} | during {x} the {vehicles} were slow
            | the old bridge, built in {x}, is closed | When did it start? In {x} | the {x} games in {city}
            | {weekday}, {month} 5, {x} | {name} ({x}) | in the autumn of {x} it rained | the {month} {x} fair
            | In {x} the first {vehicles} came | the great fire of {x} | {name} wrote it in {x}
        cardinal: I counted {x} {fruits} | it holds {x} cups | {x} people live here | {x} {colour} {vehicles} a day
            | they sold {x} of them | {city} has {x} {vehicles} | a farm with {x} {animals} | {x} cups of {drink}
            | at least {x} {shapes} | up to {x} {mid} {animals} | we need {x} {furniture} | there were {x} of us
            | nearly {x} {furniture} | I see {x} {animals} | how many? {x} | the total is {x}
            | {name} has {x} {animals} | the sum is {x} | {x} and no more | {x} is a big number
            | there are {x} words in it | {x} of {mid} {fruits} | he counted to {x} | it makes {x}
            | the answer is {x} | that is {x} {fruits} more | {x} steps lead to the {colour} door
            | {x} different {shapes} | the {language} book has {x} pages | the trip is {x} steps long
        digits: enter {x} now | dial {x} | the pass code: {x} | my code is {x} | room {x} | bus {x} to {city}
            | press {x} and wait | the key code is {x} | the door opens with {x} | his PIN was {x}
            | {name} typed {x} | extension {x} | the last digits are {x} | card number ends in {x}
            | gate code {x} | flight {x} from {city} leaves late | the lock of the {colour} door takes {x}
            | the serial number is {x} | house code {x} | train number {x} | the phone code is {x}
            | the secret number of {name} is {x} | user {x} | ticket number {x} | your code, {x}, is old
            | PIN: {x} | the safe of the {furniture} opens with {x} | the numbers to press are {x}
    """,
    "slash": """
        date: it starts on {x} | {month} begins on {x} | the party is on {x} | the letter of {x} came late
            | due by {x} | {name} leaves on {x} | we met on {x} in {city} | closed on {x} | {weekday} the {x}
            | the next bus goes on {x} | from {x} to {weekday} | until {x} it is free | the date is {x}
            | what happens on {x}? | the meeting of {x} | since {x} it rains | before {x} please
            | he was born on {x} in {country} | dated {x} | the shop opens on {x} | on {x} {mid} {animals} {doing}
            | new from {x} on | on {weekday}, {x}, we {doing} | my birthday is {x} | the test is on {x}
            | {country} votes on {x} | it snowed on {x} | the day after {x} | the show ran until {x}
        fraction: {x} of it is mine | eat {x} of the {fruits} | {x} of the class | {x} of an hour
            | pour {x} of the {drink} | {x} of {city} is old | use {x} cup | it is {x} full | {x} full
            | nearly {x} of the {vehicles} | {x} as big | a {x} share of the {drink} | more than {x} of {country}
            | {x} of a cup | {x} inch | {x} of the money | the glass is {x} empty | just {x} of them {doing}
            | over {x} of the {furniture} | {x} is less than one | half is more than {x} | {x} mile
            | the sum of {x} and one | he ate {x} of the cake | {x} of the {colour} {shapes} | mix in {x} cup of {drink}
            | {drink} ({x} cup) | fill {x} of the glass | {x} of all {mid} {animals}
        out of: I scored {x} | the mark is {x} | she got {x} on the test | {x} stars | my score: {x}
            | {name} had {x} right | a grade of {x} | {x} right | he has {x} correct | the film gets {x}
            | the book got {x} stars | the {language} exam: {x} | only {x} questions right | test result {x}
            | we give {city} {x} | the judges gave {x} | on the quiz I had {x} | a score of {x} for {name}
            | your mark: {x} | the hotel is rated {x} | they gave the {drink} {x} | {name} scored {x} in {language}
            | {x} on my last test | the review says {x} | the teacher wrote {x}
    """,
    "dash": """
        range: {x} days | it lasts {x} weeks | {x} people came | read pages {x} | in {x} minutes
            | take {x} cups of {drink} | ages {x} | {x} times a day | {x} years ago | lessons {x}
            | between {x} {vehicles} | we need {x} {fruits} | stay {x} nights | it is {x} miles away
            | open {x} hours a day | chapters {x} are {mid} | for children of {x} years | cook it {x} minutes
            | {x} cups a day | rows {x} | it costs {x} dollars | about {x} of us {doing} | questions {x}
            | {x} {animals} per farm | rooms {x} are {colour} | use {x} spoons of {drink} | levels {x}
        score: we won {x} | they beat us {x} | the final was {x} | {city} lost {x} to {city}
            | {country} drew {x} with {country} | it was {x} at the end | a {x} defeat | the match ended {x}
            | {city} leads {x} | after the first half it was {x} | {country} are {x} up | our team won {x}
            | the result was {x} | {name} beat {name} {x} | {country} against {country}: {x} | it stands {x}
            | the game is {x} now | they are down {x} | a {x} victory for {city} | the cup final went {x}
            | {city} play {city}, {x} | with a late goal {country} won {x} | the home team lost {x}
        minus: {x} is what? | tell me what {x} is | solve {x} | the result of {x} | {x} is easy
            | can you do {x}? | how much does {x} make? | {x} makes a small number | the answer of {x} is known
            | compute {x} | calculate {x} | what does {x} come to? | if you take {x} | the value of {x}
            | do the sum {x} | find {x} | please work out {x} for me | {x} comes to less | the difference {x}
            | what do you get for {x}? | what would {x} be? | {name} asks what {x} is
        phone: my phone is {p} | you can call {p} | text me at {p} | try {p} | call us at {p} on {weekday}
            | the office is at {p} | her number: {p} | fax {p} | for help dial {p} | {city} office: {p}
            | ask for {name} at {p} | new number: {p} | the taxi number is {p} | his number is still {p}
            | leave a message at {p} | reach us at {p} | tel. {p} | in an emergency ring {p} | mobile {p}
            | write down {p} | the {language} line is {p}
        range: {w} {vehicles} | {w} {fruits} a year | some {w} people | {w} {mid} {animals} | a crowd of {w}
            | between {w} {furniture} | {w} steps | it costs {w} dollars | {w} words long | {w} miles
            | for {w} guests | {w} of the {shapes}
    """,
    "colon": """
        time: it is {x} | the show begins at {x} | wake up at {x} | {x} in the morning | lunch is at {x}
            | from {x} on | the bus comes at {x} | at {x} sharp | the shop closes at {x} | at {x} we eat
            | the clock says {x} | what, {x} already? | {name} comes at {x} | see you at {x} | since {x} it rains
            | by {x} all {animals} {doing} | the news is at {x} | we leave {city} at {x} | the first train is at {x}
            | school starts at {x} | it is only {x} | meet me at {x} in {city} | tomorrow at {x}
            | between {x} and noon | on {month} 5 at {x} | around {x} | not before {x} | after {x} it is quiet
            | dinner ({x}) | flight to {city}: {x} | my watch shows {x} | the alarm rings at {x}
        ratio: in a ratio of {x} | the ratio is {x} | {drink} to {drink} {x} | a scale of {x}
            | the mix is {x} | {fruits} to {drink}, {x} | the map has a scale of {x} | odds of {x}
            | men and women {x} | split it {x} | the {shapes} are divided {x} | the proportion is {x}
            | at odds of {x} | share the {fruits} {x} | {colour} paint and water {x} | the chances are {x}
            | dilute the {drink} {x} | the student ratio is {x} | {animals} and {animals} {x} | bets at {x}
            | blend it {x} | the balance of {drink} and {drink} is {x} | a gear ratio of {x}
        duration: the film runs {x} | it lasted {x} | a run of {x} | {x} per lap | his time was {x}
            | the record is {x} | she finished in {x} | the video is {x} long | a track of {x}
            | play it for {x} | {name} swam it in {x} | a new best time of {x} | the recording takes {x}
            | the race took {x} | he ran the mile in {x} | a {x} song | the second song is {x}
            | we waited {x} | the lap took {name} {x} | hold your breath for {x} | in just {x} it was over
            | the dance goes on for {x} | the winner needed {x} | boil the {drink} for {x}
    """,
    "dot": """
        decimal: it is {x} meters | the price rose {x} percent | {x} cups | the mean is {x} | {x} times as big
            | about {x} of them | it weighs {x} pounds | pi is not {x} | a factor of {x} | {x} liters of {drink}
            | {x} miles | {x} degrees | growth of {x} percent | {x} million people | on average {x}
            | the rate is {x} | {x} points more | a grade of {x} | nearly {x} | {x} pounds of {fruits}
            | {city} is {x} miles away | some {x} people per room | it costs {x} dollars | {x} {mid} {vehicles} a day
            | he is {x} feet tall | a value of {x} | the wind blows at {x} meters a second | {drink} costs {x} euros
        version: version {x} is out | section {x} says so | look at section {x} | install {x} | nano {x}
            | the new version is {x} | it runs on version {x} | release {x} came in {month} | figure {x} shows it
            | table {x} | see chapter {x} | item {x} of the list | under {x} of the rules | part {x} is short
            | python {x} | upgrade from {x} | build {x} | it needs version {x} | paragraph {x} | exercise {x}
            | question {x} on the sheet | lesson {x} is about {animals} | appendix {x} | in release {x} of the program
            | read {x} in the handbook | since version {x} it is quick
        time: the bus leaves at {x} | we eat at {x} | be there at {x} | {x} in the morning | from {x} until noon
            | the train to {city} goes at {x} | at {x} on {weekday} | doors open at {x} | we start at {x}
            | the bell rings at {x} | {weekday} morning at {x} | back by {x} | the office opens at {x}
            | on {weekday} we close at {x} | call me at {x} | come before {x} | breakfast is at {x}
            | the last bus is at {x} | tomorrow at {x} we {doing} | until {x} it was quiet
    """,
    "place": """
        abbreviation: I saw {a} {name} | {a} {name} is here | ask {a} {name} | {a} {name} {doing}
            | we thank {a} {name} | he knows {a} {name} | {a} {name} of {city} | as {a} {name} said
            | the church of {a} {name} | see {a} {name} on {weekday} | {name} went to {a} {name}
            | the road to {a} {name} | is {a} {name} in? | {a} {name} and {a} {name} | a letter to {a} {name}
            | where is {a} {name}? | {month} in {a} {name} | {a} {name} comes from {country} | old {a} {name}
            | the train to {a} {name} is late | from {a} {name} to {city} | call {a} {name} at 5
        other abbreviation: I live on {name} {a} | 12 {name} {a} | turn left at {name} {a} | {name} {a} is closed
            | a shop on {name} {a} | the corner of {name} {a} and {name} {a} | go down {name} {a}
            | he lives at 7 {name} {a} | the house on {name} {a} | from {name} {a} | along {name} {a} in {city}
            | cross {name} {a} | the bus stops at {name} {a} | {name} {a}, {city} | 30 {name} {a}, {country}
            | north of {name} {a} | we met on {name} {a} | a fire on {name} {a} | the trees of {name} {a}
            | the end of {name} {a} | {name} {a} has {mid} {furniture}
    """,
    "roman": """
        roman: read {part} {r} now | {part} {r} begins | at the end of {part} {r} | {part} {r} of {part} {r}
            | World War {r} ended | {part} {r} was long | open {part} {r} | the first page of {part} {r}
            | {name} wrote {part} {r} | in {part} {r} we learn {language} | the text of {part} {r} | it is {part} {r}
            | before {part} {r} | {part} {r}, please | {part} {r} is about {animals} | do {part} {r} on {weekday}
            | turn to {part} {r} | {part} {r} has {mid} {shapes} | the end of World War {r} | we are at {part} {r}
        roman ordinal: {ruler} {r} was king | {ruler} {r} came to {city} | the crown of {ruler} {r}
            | Pope {ruler} {r} | under King {ruler} {r} | {ruler} {r} and {ruler} {r} | a picture of {ruler} {r}
            | the son of {ruler} {r} | Queen {ruler} {r} {doing} | Emperor {ruler} {r} | when {ruler} {r} died
            | {ruler} {r} lived in {country} | the reign of {ruler} {r} | Prince {ruler} {r} | {ruler} {r} had {animals}
            | before {ruler} {r} | the wife of {ruler} {r} spoke {language} | {ruler} {r} won | they met {ruler} {r}
        letters: type {r} | the letters {r} are {colour} | {r} is on the {furniture} | a {colour} {r}
            | he wrote {r} | she said {r} | the {r} sign | the code is {r} | an {r} on the wall
            | mark it with {r} | the word ends in {r} | the {r} button | press {r} | she painted {r} in {colour}
            | label {r} | the {colour} {r} key | the initials {r} | it begins with {r} | look for {r} on the box
    """,
    "with letter": """
        measure: {s} people came | they made {s} | it cost {s} | {s} users | a town of {s} | over {s}
            | {country} has {s} people | {s} {vehicles} a year | a loan of {s} | {s} {fruits} were sold
            | the video has {s} views | nearly {s} | {city} grew to {s} | {s} words | at least {s} {animals}
            | a fund of {s} | they lost {s} | {s} miles of road | the house sold for {s} | {s} books
            | a crowd of {s} | some {s} {furniture} | a budget of {s} | {s} years ago
        seat: I sit in {s} | {s} is my seat | seat {s} is free | gate {s} is closed | go to gate {s}
            | your seat is {s} | flight {s} | room {s} is {colour} | {name} is in room {s} | platform {s}
            | take bus {s} | apartment {s} | house {s} | class {s} | the plane leaves from gate {s}
            | exit {s} | table {s} | door {s} is open | number {s} on the plan | desk {s} | train {s} to {city}
            | locker {s} | row {s} | he lives in {s} | line {s}
    """,
    "unit or word": """
        measure: {u} of rain | the {furniture} are {u} long | {u} tall | it is {u} wide | {u} of {colour} cloth
            | the wall is {u} high | about {u} long | the hole is {u} deep | just {u} | {u} across
            | a fish of {u} | the board is {u} thick | we got {u} of snow | {u} by 5 | move it {u} to the left
            | he jumped {u} | a {colour} line {u} long | cut it at {u} | the water rose {u} | it grew {u} | {u} apart
            | the {shapes} are {u} wide
        word: I saw {v} {city} | {v} the box | {v} a {colour} box | {v} {month} | {v} the morning | {v} my room
            | {v} this {mid} town | {v} our class | {v} these {furniture} | {v} total | {v} the first week
            | there are {v} {country} | there were {v} the {vehicles} | we have {v} {language} | {v} his {mid} house
            | {name} saw {v} {city} | of these {v} {country} | {v} one {mid} box | {v} each {colour} box
            | {v} the picture | {v} two {vehicles} | some {v} {city} alone
    """,
    "day": """
        ordinal: it is {month} {d} | {month} {d} was cold | we met on {month} {d} | the party is on {month} {d}
            | {month} {d} in {city} | from {month} {d} | by {weekday}, {month} {d} | born {month} {d}
            | {month} {d} is my birthday | before {month} {d} | {name} left on {month} {d} | today is {month} {d}
            | the {mid} storm of {month} {d} | see you {month} {d} | {month} {d}, {y} | on {month} {d} we {doing}
            | the show opens {month} {d} | closed until {month} {d} | tomorrow is {month} {d}
            | in {country} {month} {d} is a holiday | after {month} {d} it is too late | it ended on {month} {d}
        day: it is {d} {month} | {d} {month} was cold | we met on {d} {month} | born on {d} {month}
            | the party is on {d} {month} | from {d} {month} | {d} {month} in {city} | before {d} {month}
            | {name} left on {d} {month} | the {mid} storm of {d} {month} | see you on {d} {month}
            | {d} {month} {y} was warm | today is {d} {month} | in {country} {d} {month} is a holiday
            | it ended on {d} {month} | after {d} {month} | on {d} {month} we {doing} | due {d} {month}
            | tomorrow, {d} {month} | the shop opens on {d} {month} | {weekday}, {d} {month}
        cardinal: {c} {animals} {doing} | I see {c} {shapes} | there are {c} {colour} {shapes} | {c} days
            | {c} of the {fruits} | {name} is {c} | {name} is {c} years old | {c} hours | {c} {vehicles} came
            | the answer is {c} | it is {c} | that makes {c} | {c} is enough | {c} and {c} | what is {c} plus {c}?
            | {c} plus {c} is {c} | {c} minus {c} is {c} | how much is {c} minus {c}? | {c} times {c}
            | {c} comes after {c} | {c}, {c} and {c} | we need {c} | the number {c} | the text {c}
            | we have {c} in the box | the {colour} card says {c} | it says {c} | I have {c} {fruits} left
            | no, {c} | there are {c} | yes, {c} of them | in all {c} | I count {c} | count to {c}
            | {city} has {c} {mid} {vehicles} | all {c} of us {doing} | {month} has {c} days | only {c}
            | {c} people speak {language} | number {c} | step {c} | group {c} | {c} more | page {c}
    """,
    "three digits": """
        digits: I am in room {t} | code {t} opens it | take bus {t} | call {t} now | flight {t} | dial {t} for help
            | room {t}, please | the code of the {colour} door is {t} | {name} took bus {t} | press {t}
            | room {t} is free | enter {t} | the area code is {t} | extension {t} | bus number {t} | train {t}
            | the key for room {t} | line {t} goes to {city} | gate {t} | in room {t} {mid} {animals} {doing}
            | go to room {t} | my room is {t} | the number on the door is {t}
        cardinal: {t} people | {t} days | about {t} of them | it has {t} pages | {t} steps | I count {t}
            | {t} {mid} {animals} {doing} | {t} {fruits} a day | we have {t} {furniture} | page {t} is {colour}
            | {t} is the answer | the total is {t} | {t} and {t} | {t} words | a book of {t} pages | {t} miles
            | more than {t} {vehicles} | {city} has {t} {vehicles} | {t} cups of {drink} | it costs {t} dollars
            | the sum is {t} | {t} years ago | they counted {t} | a total of {t} {shapes} | it weighs {t} pounds
    """,
    "short word": """
        abbreviation: {n} 8 | take {n} 3 | {n} 6 is free | bus {n} 9 to {city} | he wears {n} 10 | {n} 1 in {country}
            | see {n} 12 | lesson {n} 4 | my room is {n} 5 | door {n} 2 is {colour} | {n} 11 {doing} | ask for {n} 20
        verbatim: can you? {N} | {N} I can not | {N} The {animals} are {colour} | {N} We {doing}
            | do you speak {language}? {N} | {N} Never | is it {month}? {N} | {N} 7 is too much | {N} {name} is not here
            | did he go? {N} He stayed
        abbreviation: {k} and {k} | every {k} | on {k} at 9 | {k}, {month} 5 | closed on {k} | {k} to {k}
            | {k} is a good day | see you {k} | next {k} | until {k}
        verbatim: the {K} was {colour} | she {K} here | in the {K} | {K} on the {furniture} | he {K} on it
            | {name} {K} in {city} | under the {K} of {country} | we {K} and {doing}
    """,
    "money": """
        money: I paid {m} | {m} is too much | it was {m} | {m} each | he has {m} | for {m} | the price is {m}
            | {m} and no more | she won {m} | a bill of {m} | {name} owes {m} | only {m} for a {furniture}
            | {drink} for {m} | they made {m} in {y} | sold for {m} | {m} per {weekday} | the trip costs {m}
            | a loan of {m} | it rose to {m} | a cup of {drink} is {m} | {city} paid {m} for {vehicles}
    """,
    "plain": """
        other: the {o} time | on the {o} day | he was {o} | {q} of the {fruits} | up {q} | only {q} {doing}
            | in the {z} | the early {z} | songs of the {z} | the {l} | {l} and {l} | {name} works for the {l}
            | a {l} office in {city} | {g} people | about {g} {vehicles} | {g} miles | go to {h} | mail {h}
            | the page is {h} | {drink} {j} {drink} | {name} {j} {name} {doing} | since {i} | due {i}
            | the {o} of {month} was cold | born on {i} | {country} in the {z} | {g} is the sum | her {o} {furniture}
            | {q} less | {l}, {h} | the {o}, please | in {country} {q} speak {language} | {i} was a {weekday}
            | the {o} and the {o} | {c} {e} {c} is {c} | {c} {e} {c} | what is {c} {e} {c}? | {b} is out
            | version {b} | update to {b} | {W} and {W} | the {W} of {city} | {name} likes {W}
    """,
}
MORE_LEADS = """ | | Yes: | No, | Maybe | He said: | So | And | But | Now | I know that | We think that | It seems that
    | Of course | Look, | Ask me again: | On the left: | As I said, | She wrote: | Here is what I see:"""
MORE_TAILS = """ | | , please | , he said | , I hope | , today | , again | , as always | , or so they say | , you see
    | , and it rains | , but nobody knows | , so we wait | , too | , right"""
